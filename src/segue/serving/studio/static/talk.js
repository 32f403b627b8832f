// Questions to the studio's own address, and how numbers are written.
async function answer(response) {
  let value = null;
  try {
    value = await response.json();
  } catch {
    throw new Error(`The studio answered ${response.status} and no JSON.`);
  }
  if (!response.ok) throw new Error(value?.error?.message ?? `The studio answered ${response.status}.`);
  return value;
}

export const get = async (path, query = {}) => answer(await fetch(`${path}?${new URLSearchParams(query)}`));

export const post = async (path, body) =>
  answer(await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }));

// → {value} or {error}: one line for people
export async function asked(promise) {
  try {
    return { value: await promise };
  } catch (error) {
    const lost = error instanceof TypeError;
    return { error: lost ? "The studio does not answer. Start it again with: segue serve studio" : error.message };
  }
}

export const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(3).replace("-", "−"));
