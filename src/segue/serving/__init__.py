"""Serving: plain objects that know no HTTP, and apps around them that know no torch. Nothing loads at import."""
