"""What a reader must know before quoting a result, counted."""

from collections.abc import Mapping

from segue.alignment.measure import Part
from segue.models.outside import PredictedWindows
from segue.windows import Windows
from segue.windows.rows import Rows

FEW = (5, 10)  # R@k is 1 by itself for a window with k candidates or fewer
# A file whose predictions lie no more than this closer to their own targets than to other windows' is asked whether its
# rows are in order: real text of one language gives unrelated chunks cosines of .05 and more, neighbours .4.
ORDER_DOUBT = 0.02
LOOKED_AT = 2000  # windows


def few_candidates(windows: Windows) -> dict[str, int]:
    """For k = 5 and 10, how many windows have k candidates or fewer in the pool `future`: their R@k is 1 for anyone."""
    store = windows.store
    last_of_document = (store.first_row_G + store.length_G - 1)[windows.document_W]
    candidates_W = last_of_document - windows.last_W
    return {str(k): int((candidates_W <= k).sum()) for k in FEW}


def said_of_few(few: Mapping[str, Mapping[str, int]], parts: Mapping[str, Part]) -> list[str]:
    """One sentence a part, where there are such windows."""
    said = []
    for part, counts in few.items():
        if any(counts.values()):
            listed = ", ".join(f"{n:,} have {k} or fewer (R@{k})" for k, n in counts.items() if n)
            said.append(
                f"{part}: of {len(parts[part].windows):,} windows, {listed} candidates in the pool future: "
                f"there the true chunk is among the first whatever is predicted. Chance, beside R@k, counts them."
            )
    return said


def said_of_order(read: Mapping[str, PredictedWindows], parts: Mapping[str, Part]) -> list[str]:
    """What a file of predictions leaves open: a part without rows, rows that fit other windows as well as their own."""
    said = [
        f"The file has no rows for {part}: judged on {' and '.join(read)} alone." for part in parts if part not in read
    ]
    for part, predictions in read.items():
        windows = parts[part].windows.sample(LOOKED_AT, seed=0)
        target_WD = Rows(windows.store)(windows.target_rows())
        prediction_WD = predictions.predict_windows(windows)
        own_W = (prediction_WD * target_WD).sum(1)
        count, own = len(own_W), float(own_W.mean())
        everyone = float(prediction_WD.sum(0) @ target_WD.sum(0))
        other = (everyone - count * own) / max(1, count * (count - 1))
        if count > 1 and own - other <= max(ORDER_DOUBT, 2 * float(own_W.std()) / count**0.5):
            said.append(
                f"{part}: the predictions lie as close to other windows' targets (cos {other:.3f}) as to their own "
                f"({own:.3f}). Are the rows in the order of `segue windows`?"
            )
    return said
