"use strict";
const the = id => document.getElementById(id);
let photo = null, links = [];

function say(text, bad = false) {
  the("said").textContent = text;
  the("said").className = bad ? "bad" : "";
}

function headers(more = {}) {
  const token = the("token").value.trim();
  return token ? { ...more, Authorization: "Bearer " + token } : more;
}

async function complaint(response) {
  if (response.status === 401) the("ask").hidden = false;
  try { return (await response.json()).message; } catch { return "the server answered " + response.status; }
}

async function loadModels() {
  const response = await fetch("/v1/models", { headers: headers() });
  if (!response.ok) return say(await complaint(response), true);
  const known = await response.json();
  const depths = known.models.filter(one => one.output !== "normals");
  the("model").replaceChildren(...depths.map(one => new Option(one.name, one.name, false, one.name === known.default_model)));
  say("");
}

/* The files of a ZIP whose entries are stored uncompressed: name → bytes. */
function stored(buffer) {
  const view = new DataView(buffer), files = {};
  for (let at = 0; view.getUint32(at, true) === 0x04034b50;) {
    const size = view.getUint32(at + 18, true), nameLength = view.getUint16(at + 26, true), extra = view.getUint16(at + 28, true);
    const begin = at + 30 + nameLength + extra;
    files[new TextDecoder().decode(new Uint8Array(buffer, at + 30, nameLength))] = buffer.slice(begin, begin + size);
    at = begin + size;
  }
  return files;
}

function link(content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  links.push(url);
  return url;
}

const TYPES = { png: "image/png", html: "text/html", json: "application/json", npy: "application/octet-stream" };

function show(buffer) {
  links.forEach(URL.revokeObjectURL);
  links = [];
  const files = stored(buffer), urls = {};
  for (const name in files) urls[name] = link(files[name], TYPES[name.split(".").pop()]);
  const about = JSON.parse(new TextDecoder().decode(files["about.json"]));
  the("photo").src = link(photo, photo.type);
  the("depth").src = urls["depth-colours.png"];
  the("unsure").hidden = !urls["uncertainty-colours.png"];
  if (urls["uncertainty-colours.png"]) the("uncertainty").src = urls["uncertainty-colours.png"];
  the("scene").src = urls["scene.html"];
  the("files").replaceChildren(...Object.keys(files).map(name => {
    const one = document.createElement("a");
    one.href = urls[name]; one.download = name; one.textContent = name;
    return one;
  }));
  the("result").hidden = false;
  say(`${about.model}, ${about.width} × ${about.height}. ` +
      (about.metric ? "Depth in metres." : "Shape only: distances are not metres."));
}

async function compute() {
  if (!photo) return;
  the("again").disabled = true;
  const began = performance.now(), tick = setInterval(() => say(`Computing … ${Math.round((performance.now() - began) / 1000)} s`), 500);
  say("Computing …");
  try {
    const query = new URLSearchParams({ format: "zip", ensemble: the("ensemble").value });
    if (the("model").value) query.set("model", the("model").value);
    const response = await fetch("/v1/predict?" + query, {
      method: "POST", body: photo, headers: headers({ "Content-Type": photo.type || "application/octet-stream" }),
    });
    clearInterval(tick);
    if (response.ok) show(await response.arrayBuffer());
    else say(await complaint(response), true);
  } catch (error) {
    clearInterval(tick);
    say("The server cannot be reached: " + error.message, true);
  }
  the("again").disabled = false;
}

function take(file) {
  if (!file) return;
  photo = file;
  compute();
}

the("file").onchange = event => take(event.target.files[0]);
the("again").onclick = compute;
the("token").onchange = loadModels;
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, event => { event.preventDefault(); the("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"]) addEventListener(kind, event => { event.preventDefault(); the("drop").classList.remove("over"); });
addEventListener("drop", event => take(event.dataTransfer.files[0]));
loadModels();
