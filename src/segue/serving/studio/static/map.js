// The map of a document: what was read, what was predicted, what came. Texts are set as text, never as HTML.
import { hide } from "./points.js";
import { asked, figure, get, post } from "./talk.js";
import { matrix, scale, strip, trace } from "./drawing.js";

const LISTED = 40;
const NO_TEXT = "(the store keeps no text)";
const rank = (value, of) => `${Number.isInteger(value) ? value : value.toFixed(1)} of ${of}`;

function map() {
  return {
    documents: [], total: 0, query: "",
    models: [], model: "", steering: 0,
    id: "", data: null, at: 0, failed: "", afar: { found: [], said: "" },

    async init() {
      const url = new URLSearchParams(location.search);
      this.model = url.get("model") ?? "";
      await Promise.all([this.list(), this.known()]);
      const first = url.get("document") ?? this.documents[0]?.id;
      if (first) await this.open(first, url.get("at"));
      new ResizeObserver(() => this.draw()).observe(this.$root);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    },

    async list(more = false) {
      const offset = more ? this.documents.length : 0;
      const found = await this.ask(get("/api/documents", { query: this.query, limit: LISTED, offset }));
      if (!found) return;
      this.documents = more ? [...this.documents, ...found.documents] : found.documents;
      this.total = found.total;
    },
    async known() {
      const { value } = await asked(get("/api/models"));
      const gone = (one) => (one.status === "served" ? "" : `, ${one.status}`);
      this.models = (value?.models ?? []).map((one) => ({ name: one.name, label: `${one.name} (${one.family}${gone(one)})` }));
      this.model ||= value?.default ?? this.models[0]?.name ?? "";
    },
    find(text) {
      this.query = text;
      this.list();
    },
    more() {
      this.list(true);
    },

    async ask(promise) {
      const { value, error } = await asked(promise);
      this.failed = error ?? "";
      return value;
    },
    async open(id, position = null, start = null) {
      const from = start ?? (position === null ? 0 : Math.max(0, position - this.most / 2) * (position >= this.most));
      const found = await this.ask(get("/api/map", { document: id, start: Math.floor(from), model: this.model, steering: this.steering }));
      if (!found) return;
      const same = this.id === id && this.data?.document.start === found.document.start;
      this.id = id;
      this.data = found;
      const wanted = found.steps.findIndex((one) => found.chunks[one.target].position === Number(position));
      this.at = position !== null && wanted >= 0 ? wanted : same ? Math.min(this.at, Math.max(0, found.steps.length - 1)) : 0;
      this.$nextTick(() => this.moved());
    },
    choose(name) {
      this.model = name;
      this.open(this.id, null, this.data.document.start);
    },
    steer(value) {
      this.steering = Number(value);
      this.open(this.id, null, this.data.document.start);
    },
    turn(by) {
      this.open(this.id, null, Math.max(0, this.data.document.start + by * this.most));
    },
    go(at) {
      const next = Math.max(0, Math.min(this.steps.length - 1, Number(at)));
      if (next === this.at) return;
      this.at = next;
      this.moved();
    },
    move(by) {
      this.go(this.at + by);
    },
    key(event) {
      if (event.target.closest("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by && this.steps.length) {
        event.preventDefault();
        this.move(by);
      }
    },
    moved() {
      this.draw();
      const place = new URLSearchParams({ document: this.id, ...(this.model && { model: this.model }) });
      if (this.step) place.set("at", this.data.chunks[this.step.target].position);
      history.replaceState(null, "", `/map?${place}`);
      this.search();
    },

    // What lies nearest in the whole store: asked when one stays at a place for a moment.
    search() {
      clearTimeout(this.waiting);
      const step = this.step;
      if (!step) return;
      this.afar = { found: [], said: "…" };
      this.waiting = setTimeout(async () => {
        const stored = { id: this.id, upto: this.data.chunks[step.at].position };
        const { value, error } = await asked(post("/api/predict", { stored, model: this.model, k: 3, steering: this.steering }));
        if (step !== this.step) return;
        const one = value?.steps[0];
        const found = one ? [one.predicted, ...one.alternatives].filter(Boolean) : [];
        this.afar = { found: found.map((passage) => this.passage(passage)), said: error ?? (found.length ? "" : "Nothing found.") };
      }, 300);
    },
    passage(one) {
      const href = `/map?${new URLSearchParams({ document: one.document, at: one.position, model: this.model })}`;
      const here = one.document === this.id ? "this document" : one.title || one.document;
      return { ...one, said: figure(one.cosine), where: `${here}, chunk ${one.position + 1}`, text: one.text ?? NO_TEXT, href };
    },

    get most() {
      return Number(this.$root.dataset.most);
    },
    get steps() {
      return this.data?.steps ?? [];
    },
    get step() {
      return this.steps[this.at];
    },
    get trouble() {
      return this.data?.trouble ?? "";
    },
    get title() {
      return this.data?.document.title || this.id;
    },
    get parts() {
      return this.data ? Math.ceil(this.data.document.total / this.most) : 1;
    },
    get part() {
      return this.data ? Math.floor(this.data.document.start / this.most) + 1 : 1;
    },
    get about() {
      const { summary, model, document: { total } = {} } = this.data ?? {};
      if (!summary) return total ? `${total} chunks.` : "";
      const target = model.horizon === 1 ? "the next" : `the one at +${model.horizon}`;
      return `${total} chunks. ${model.name} reads ${model.context} and predicts ${target}: in this document an MRR of ${figure(summary.mrr)} among the chunks to come, repeating the last chunk ${figure(summary.last_mrr)}, chance ${figure(summary.chance_mrr)}; n ${summary.n}. One document shows what a model does, not what it is worth.`;
    },
    number(i) {
      return (this.data?.document.start ?? 0) + i + 1;
    },
    text(i) {
      return this.data.chunks[i].text ?? NO_TEXT;
    },
    get place() {
      return this.step ? `Chunk ${this.number(this.step.target)} of ${this.data.document.total}` : "";
    },
    get spoken() {
      return this.step ? `The prediction for chunk ${this.came.number}: its cosine to it is ${this.came.cosine}, rank ${this.came.rank}` : "";
    },
    get read() {
      if (!this.step) return [];
      const { at } = this.step;
      const length = this.data.model.context;
      return Array.from({ length }, (_, i) => at - length + 1 + i).map((i) => ({ number: this.number(i), text: this.text(i), last: i === at }));
    },
    get best() {
      return (this.step?.best ?? []).map(([i, cosine]) => ({ number: this.number(i), text: this.text(i), cosine, said: figure(cosine), true: i === this.step.target }));
    },
    get came() {
      const step = this.step;
      if (!step) return {};
      return {
        number: this.number(step.target), text: this.text(step.target),
        rank: rank(step.rank, step.of), lastRank: rank(step.last_rank, step.of),
        cosine: figure(step.cosine), lastCosine: figure(step.last_cosine), copy: figure(step.copy),
      };
    },

    draw() {
      if (!this.data) return;
      const go = (target) => {
        const found = this.steps.findIndex((one) => one.target === target);
        if (found >= 0) this.go(found);
      };
      const names = { number: (i) => this.number(i), text: (i) => this.text(i) };
      if (this.step) {
        strip(this.$refs.strip, this.data, this.step, names, go);
        trace(this.$refs.trace, this.data, this.at, names, go);
      }
      const { likeness } = this.data;
      const guess = likeness.map(() => null);
      for (const one of this.steps) guess[one.target] = one.cosines;
      matrix(this.$refs.truth, likeness, this.step, names, go);
      if (this.steps.length) matrix(this.$refs.guess, guess, this.step, names, go);
      scale(this.$refs.scale);
    },
  };
}

document.addEventListener("alpine:init", () => window.Alpine.data("map", map));
document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
