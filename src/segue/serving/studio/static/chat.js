// The chat: the user's own text is what is read; replies are passages of the store. Texts are set as text, never as HTML.
import { asked, figure, get, post } from "./talk.js";

const STAGES = [["chunk", "cut", "s-oracle"], ["encode", "encode", "s-best"], ["predict", "predict", "s-model"], ["decode", "find", "s-copy"]];
const NO_TEXT = "(the store keeps no text)";
const milliseconds = (value) => (value < 10 ? value.toFixed(1) : Math.round(value));

function chat() {
  return {
    turns: [], error: "", down: "", busy: false, last: 0,
    models: [], model: "", steering: 0, temperature: 0, k: 5,

    async init() {
      const { value, error } = await asked(get("/api/models"));
      this.down = error ?? "";
      this.models = (value?.models ?? []).map((one) => ({ ...one, label: `${one.name} (${one.family})` }));
      this.model = value?.default ?? this.models[0]?.name ?? "";
    },
    get reads() {
      const one = this.models.find((its) => its.name === this.model);
      return one ? `reads ${one.reach ?? `at least ${one.context}`} chunks of your text` : "";
    },
    get examples() {
      return this.$root.dataset.store === "yes";
    },

    async send() {
      const text = this.$refs.text.value.trim();
      if (this.busy) return;
      if (!text) {
        this.error = "Write or paste a text first.";
        return;
      }
      if (await this.ask([...this.said, { role: "user", content: text }])) this.$refs.text.value = "";
    },
    on() {
      if (!this.busy) this.ask(this.said, 1);
    },
    over() {
      this.turns = [];
      this.error = "";
    },
    get said() {
      return this.turns.map(({ role, text }) => ({ role, content: text }));
    },

    // → whether it was answered; then the turns are those that were sent, and the replies.
    async ask(messages, more = null) {
      this.busy = true;
      const body = { messages, model: this.model || null, k: this.k, steering: this.steering, temperature: this.temperature };
      if (more) body.continue = more;
      const { value, error } = await asked(post("/api/chat", body));
      this.busy = false;
      this.error = error ?? "";
      if (error) return false;
      this.down = "";
      const user = messages.length > this.turns.length ? [this.turn("user", "You", messages.at(-1).content)] : [];
      const replies = value.steps.filter((step) => step.predicted).map((step, i) => this.reply(value, step, i));
      if (!replies.length) this.error = "No passage is left to be found in the store.";
      this.turns = [...this.turns, ...user, ...replies];
      this.$nextTick(() => this.$root.querySelector(".turn:last-child")?.scrollIntoView({ block: "nearest" }));
      return true;
    },
    turn(role, who, text, answer = null) {
      this.last += 1;
      return { key: this.last, role, who, text, answer };
    },
    reply(value, step, i) {
      const { predicted, alternatives, copy } = step;
      const seen = this.place(predicted);
      const total = value.milliseconds.total;
      const times = STAGES.map(([stage, name, style]) => ({ stage, style, took: value.milliseconds[stage], label: `${name} ${milliseconds(value.milliseconds[stage])} ms` }));
      return this.turn("assistant", `${value.model} predicts`, predicted.text ?? NO_TEXT, {
        ...seen,
        copy: copy.warning ?? "",
        warnings: i === 0 ? value.warnings : [],
        alternatives: alternatives.map((one) => this.place(one)),
        context: value.context.map((one, at) => ({ number: at + 1, text: one.text ?? NO_TEXT })),
        chunked: value.chunked,
        times: i === 0 ? times.filter((one) => one.took > 0).map((one) => ({ ...one, width: { width: `${(100 * one.took) / Math.max(total, 0.001)}%` } })) : [],
        took: `${milliseconds(total)} ms in all`,
      });
    },
    place(one) {
      const href = `/map?${new URLSearchParams({ document: one.document, at: one.position, model: this.model })}`;
      const section = one.section ? `, ${one.section}` : "";
      return { ...one, text: one.text ?? NO_TEXT, said: figure(one.cosine), where: `${one.title || one.document}${section}, chunk ${one.position + 1}`, href };
    },

    // The beginning of a document of the store, so that one sees at once what it does.
    async example() {
      this.busy = true;
      const { value, error } = await asked(this.beginning());
      this.busy = false;
      this.error = error ?? "";
      if (value) this.$refs.text.value = value;
    },
    async beginning() {
      const { total } = await get("/api/documents", { limit: 1 });
      const { documents } = await get("/api/documents", { limit: 1, offset: Math.floor(Math.random() * total) });
      const found = await get("/api/texts", { document: documents[0].id });
      const texts = found.texts.filter(Boolean);
      if (!texts.length) throw new Error("The store keeps no texts, only vectors. Paste one of your own.");
      const context = this.models.find((one) => one.name === this.model)?.context ?? 5;
      return texts.slice(0, context).join("\n\n");
    },
  };
}

document.addEventListener("alpine:init", () => window.Alpine.data("chat", chat));
