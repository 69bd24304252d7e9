"use strict";
// At most one request is in flight, and positions that were passed while it was are never asked for: `version` counts what was asked,
// and `work` draws until it has drawn the last of it. While a slider moves, few steps are drawn; when it rests, all, and measured.
const known = JSON.parse(document.getElementById("known").textContent);
const REST = 250;  // ms without a change after which a slider rests
const FRAME = 100;  // ms in which all galaxies must be drawn to be drawn while a slider moves
const PART = 4;  // galaxies a request when all are drawn at rest, so that a slider that moves again waits for no more
const find = id => document.getElementById(id);
const asked = {};  // condition -> value; null where it is left out
const settings = {seed: Math.min(known.seed, 2 ** 32 - known.most), count: Math.min(9, known.most), steps: known.steps, draft: known.draft};
let galaxies = [], chosen = 0;
let version = 0, moving = false, working = false, resting = 0, pace = Infinity, times = [];

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function draws(tag, attributes) {  // a part of a drawing
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// -- numbers in words
function digits(step) { return Math.max(0, -Math.floor(Math.log10(step) + 1e-9)); }

function rounded(value, error) {  // as its error, which has two digits, or to three digits; thousandths at most
  if (value === null) return "-";
  const places = error > 0 ? 1 - Math.floor(Math.log10(error)) : 2 - Math.floor(Math.log10(Math.abs(value) || 1));
  return value.toFixed(Math.min(3, Math.max(0, places)));
}

function short(value) { return String(Number(value.toPrecision(3))); }

function at(redshift, column) {  // a row of the table of lookback times, linearly
  const {z} = known.times, last = z.length - 1;
  const place = Math.min(Math.max((redshift - z[0]) / (z[last] - z[0]), 0), 1) * last, low = Math.min(Math.floor(place), last - 1);
  return known.times[column][low] + (place - low) * (known.times[column][low + 1] - known.times[column][low]);
}

function words() {  // where we are
  return known.controls.filter(control => asked[control.name] !== null).map(control => {
    const value = asked[control.name];
    if (control.classes) return value;
    if (control.name === "redshift") return `z = ${short(value)}, ${at(value, "gyr").toFixed(1)} Gyr ago`;
    return `${control.name} ${short(value)}`;
  }).join(", ");
}

// -- controls
function addNumber(control) {
  const number = make("input", {type: "number", step: "any", required: true});
  const slider = make("input", {type: "range", id: `slide-${control.name}`, min: control.low, max: control.high, step: control.step});
  const beside = make("span", {className: "beside"});
  const text = v => control.log ? String(Number(v.toPrecision(4))) : v.toFixed(digits(control.step));
  const value = place => control.log ? 10 ** place : Number(text(place));
  let current, settle = () => {};
  number.min = value(control.low);
  number.max = value(control.high);
  number.setAttribute("aria-label", `${control.name}, as a number`);
  const put = (v, from) => {
    asked[control.name] = current = v;
    if (from !== number) number.value = text(v);
    if (from !== slider) slider.value = control.log ? Math.log10(v) : v;
    beside.textContent = control.name === "redshift" ? `${at(v, "gyr").toFixed(1)} Gyr ago` : "";
    slider.setAttribute("aria-valuetext", `${text(v)} ${beside.textContent}`.trim());
  };
  slider.addEventListener("input", () => { put(value(slider.valueAsNumber), slider); changed(true); });
  number.addEventListener("change", () => { if (number.reportValidity()) { put(number.valueAsNumber, number); changed(); } });
  const top = make("div", {className: "top"}, make("label", {htmlFor: slider.id, textContent: control.name}), number, beside,
    make("small", {className: "marks", textContent: "marks: training galaxies, 1/32 between two"}));
  if (control.optional) {
    const box = make("input", {type: "checkbox", checked: !control.more});
    settle = () => {
      slider.disabled = number.disabled = !box.checked;
      asked[control.name] = box.checked ? current : null;
    };
    box.addEventListener("change", () => { settle(); changed(); });
    beside.before(make("label", {}, box, " asked for"));
  }
  const marks = draws("svg", {viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true"});
  const place = mark => Math.min(Math.max((mark - control.low) / (control.high - control.low), 0), 1);
  marks.append(draws("path", {d: control.marks.map(mark => `M${place(mark)} 0v1`).join("")}));
  put(value(control.start));
  settle();
  find(control.more ? "further" : "conditions").append(make("div", {className: "number"}, top, slider, marks));
}

function addKinds(control) {
  const choices = make("div");
  for (const kind of [...control.classes, ...(control.optional ? [null] : [])]) {
    const radio = make("input", {type: "radio", name: `kind-${control.name}`, className: "unseen", checked: kind === control.start});
    radio.addEventListener("change", () => { asked[control.name] = kind; changed(); });
    choices.append(make("label", {}, radio, kind ?? "any"));
  }
  asked[control.name] = control.start;
  find("conditions").append(make("fieldset", {className: "kinds"}, make("legend", {textContent: control.name}), choices));
}

function addSetting(name, most, then) {
  const input = find(name);
  input.max = most;
  input.value = settings[name];
  input.addEventListener("change", () => { if (input.reportValidity()) { settings[name] = input.valueAsNumber; then(); changed(); } });
}

// -- galaxies
function sow() {  // the seeds' galaxies; what is drawn of them already is kept
  const before = new Map(galaxies.map(galaxy => [galaxy.seed, galaxy]));
  galaxies = Array.from({length: settings.count}, (_, k) => before.get(settings.seed + k) ?? planted(settings.seed + k));
  chosen = Math.min(chosen, galaxies.length - 1);
  find("grid").replaceChildren(find("grid").firstElementChild, ...galaxies.map(galaxy => galaxy.label));
  galaxies[chosen].radio.checked = true;
}

function planted(seed) {
  const canvas = make("canvas", {width: known.size, height: known.size}), radio = make("input", {type: "radio", name: "galaxy", className: "unseen"});
  canvas.setAttribute("aria-hidden", "true");
  const galaxy = {seed, canvas, radio, label: make("label", {}, radio, canvas, `seed ${seed}`), shows: "", where: ""};
  radio.addEventListener("change", () => { chosen = galaxies.indexOf(galaxy); changed(); });
  return galaxy;
}

const conditions = () => Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null));

async function post(what, seeds, steps, where = conditions()) {
  const sent = {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({seeds, conditions: where, steps})};
  const answer = await fetch(what, sent).catch(() => { throw new Error("The server does not answer: does hubbleflow explore still run?"); });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({error: `The server answers ${answer.status}.`}));
  throw new Error(said.error);
}

async function draw(some, steps) {
  const where = conditions(), started = performance.now(), length = 4 * known.size ** 2;
  const bytes = await (await post("draw", some.map(galaxy => galaxy.seed), steps, where)).arrayBuffer();
  some.forEach((galaxy, k) => {
    const picture = new ImageData(new Uint8ClampedArray(bytes, k * length, length), known.size);
    galaxy.canvas.getContext("2d").putImageData(picture, 0, 0);
    galaxy.where = JSON.stringify(where);
    galaxy.shows = galaxy.where + steps;
  });
  pace = (performance.now() - started) / (some.length * steps);
  show();
}

function show() {
  const now = JSON.stringify(conditions()), galaxy = galaxies[chosen], large = find("large");
  galaxies.forEach(other => other.label.classList.toggle("old", other.where !== now));
  find("measured").classList.toggle("old", find("measured").dataset.where !== galaxy.seed + now);
  large.getContext("2d").drawImage(galaxy.canvas, 0, 0);
  large.setAttribute("aria-label", `Galaxy of seed ${galaxy.seed}${words() ? `, ${words()}` : ""}`);
  find("name").textContent = `Seed ${galaxy.seed}${words() ? `, ${words()}` : ""}`;
  ruler();
}

function ruler() {
  if (!known.scale) return;
  const side = known.size * known.scale, length = [60, 30, 10, 5, 2, 1, 0.5, 0.2, 0.1].find(arcsec => arcsec < 0.3 * side) ?? 0.05;
  const kpc = known.times && asked.redshift ? ` = ${short(length * at(asked.redshift, "kpc"))} kpc` : "";
  find("ruler").style.width = `${100 * length / side}%`;
  find("ruler").firstChild.textContent = `${length}″${kpc}`;
}

// -- what is done when
function changed(slid = false) {
  version += 1;
  moving = slid;
  clearTimeout(resting);
  if (slid) resting = setTimeout(changed, REST);
  show();
  work();
}

async function work() {
  if (working) return;
  working = true;
  document.body.dataset.state = "drawing";
  for (let done = -1; done !== version;) {
    done = version;
    try {
      await (moving ? drag() : rest(() => done !== version));
      if (done === version) complain("");
    } catch (error) { complain(error.message); }
  }
  working = false;
  if (!moving) document.body.dataset.state = "rest";
}

async function drag() {
  const steps = Math.min(settings.draft, settings.steps);
  await draw(pace * steps * galaxies.length < FRAME ? galaxies : [galaxies[chosen]], steps);
  times = [...times.filter(time => time > performance.now() - 1000), performance.now()];
  const rate = times.length > 2 ? (times.length - 1) / (times.at(-1) - times[0]) * 1000 : 0;
  find("how").textContent = `${steps} of ${settings.steps} steps${rate ? `, ${rate.toFixed(0)} frames a second` : ""}`;
}

async function rest(late) {
  const steps = settings.steps, galaxy = galaxies[chosen], where = conditions(), now = JSON.stringify(where), whole = now + steps;
  if (galaxy.shows !== whole) await draw([galaxy], steps);
  find("how").textContent = `${known.bands} as ${known.bands.includes(",") ? "red, green, blue" : "grey"}; ${steps} steps`;
  if (late()) return;
  const found = await (await post("measure", [galaxy.seed], steps, where)).json();
  if (late()) return;
  find("measured").dataset.where = galaxy.seed + now;
  tell(found, galaxy.seed);
  const others = galaxies.filter(other => other.shows !== whole);
  for (let first = 0; first < others.length && !late(); first += PART) await draw(others.slice(first, first + PART), steps);
  show();
}

function complain(sentence) { if (find("trouble").textContent !== sentence) find("trouble").textContent = sentence; }

// -- measured values
function tell(found, seed) {
  const population = found.rows.some(row => row.others);
  find("measured").classList.toggle("no-population", !population);
  find("beside").textContent = population ? `Beside ${found.population}.`
    : known.population ? `No population: ${found.population}.`
    : "No population to compare with: start with --population SET.h5, a set that hubbleflow measure has measured.";
  find("rows").replaceChildren(...found.rows.map(tableRow));
  find("remarks").replaceChildren(...found.remarks.map(remark => make("li", {textContent: remark})));
  const values = found.rows.filter(row => row.value !== null).map(row => `${row.label} ${rounded(row.value, row.error)} ${row.unit}`.trim());
  find("said").textContent = `Seed ${seed}, ${words()}: ${values.join(", ") || "nothing that could be trusted was measured"}.`;
}

function tableRow(row) {
  const value = make("td", {}, make("b", {textContent: rounded(row.value, row.error)}));
  const error = row.value !== null && row.error ? `± ${rounded(row.error, row.error)} ` : "";
  if (row.value !== null && error + row.unit) value.append(make("small", {textContent: ` ${error}${row.unit}`}));
  const share = row.share_below === undefined || row.share_below === null ? "-" : `${Math.round(100 * row.share_below)} %`;
  const name = make("th", {scope: "row", textContent: row.label});
  return make("tr", {}, name, make("td", {className: "strip"}, ...(row.others ? axis(row) : [])), value, make("td", {className: "share", textContent: share}));
}

function axis(row) {  // ticks: galaxies of the population; bar: their middle 68 %; point: the galaxy
  const [low, high] = row.ends, place = value => Math.min(Math.max((value - low) / (high - low), 0), 1);
  const [first, middle, last] = row.quantiles;
  const drawing = draws("svg", {viewBox: "0 0 1 1", preserveAspectRatio: "none", role: "img"});
  drawing.setAttribute("aria-label", `population: median ${short(middle)}, 16 to 84 %: ${short(first)} to ${short(last)}`);
  drawing.append(
    draws("rect", {x: place(first), width: place(last) - place(first), y: 0, height: 1}),
    draws("path", {d: row.others.filter(other => other >= low && other <= high).map(other => `M${place(other)} .25v.5`).join("")}),
    draws("path", {class: "middle", d: `M${place(middle)} 0v1`}));
  const whole = make("div", {className: "axis"}, drawing);
  if (row.value !== null) {
    const point = make("i", {className: row.value < low || row.value > high ? "beyond" : ""});
    point.style.left = `calc(.5rem + ${place(row.value)} * (100% - 1rem))`;
    whole.append(point);
  }
  const end = value => make("span", {textContent: value.toFixed(Math.abs(value) < 10 ? 2 : 1)});
  return [make("div", {className: "strip"}, end(low), whole, end(high))];
}

// -- downloads
async function download(what, some) {
  try {
    const seeds = some.map(galaxy => galaxy.seed), blob = await (await post(what, seeds, settings.steps)).blob();
    const where = Object.entries(conditions()).map(([name, value]) => `_${name === "redshift" ? "z" : ""}${value}`).join("").replace(/[^\w.+-]/g, "-");
    const link = make("a", {href: URL.createObjectURL(blob), download: `${known.title.replace(/\W+/g, "-")}${where}_seed${seeds[0]}${seeds.length > 1 ? `-${seeds.at(-1)}` : ""}.${what}`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) { complain(error.message); }
}

find("about").textContent = known.about;
find("large").width = find("large").height = known.size;
const further = known.controls.filter(control => control.more).map(control => control.name).join(", ");
if (further) {
  find("conditions").after(make("details", {id: "more"}, make("summary", {textContent: `More to ask for: ${further}`}),
    make("section", {id: "further", ariaLabel: "More conditions"})));
}
known.controls.forEach(control => (control.classes ? addKinds : addNumber)(control));
addSetting("seed", 2 ** 32 - known.most, sow);
addSetting("count", known.most, sow);
addSetting("steps", known.most_steps, () => {});
addSetting("draft", known.most_steps, () => {});
find("new").addEventListener("click", () => { find("seed").value = settings.seed = Math.floor(Math.random() * 1e6); sow(); changed(); });
for (const what of ["fits", "png"]) {
  find(`${what}-one`).addEventListener("click", () => download(what, [galaxies[chosen]]));
  find(`${what}-all`).addEventListener("click", () => download(what, galaxies));
}
sow();
changed();
