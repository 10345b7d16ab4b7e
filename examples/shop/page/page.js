// The page: places orders, and shows twice a second what has become of them.
const $ = (id) => document.getElementById(id);

// element("p", { className: "hint" }, "text", ...): text is text, never HTML
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const EXPLANATIONS = {
  saga: "Stock is reserved, then the wallet is charged. If one refuses, what was done is undone.",
  tcc: "Stock and money are set aside first, and used only if both could be.",
  xa: "Both databases prepare their transaction, with its locks. Then both commit, or both roll back.",
  card: "A saga over another company’s REST API: its 402 is a no, its 429 is waited for, and a charge is refunded by DELETE.",
};
const METHODS = { saga: "Saga", tcc: "TCC", xa: "XA", card: "Saga, card" };
const STATES = {
  placed: "in progress", paid: "paid", shipped: "shipped", rejected: "rejected",
};

const chosen = (name) => document.querySelector(`input[name=${name}]:checked`)?.value;
const byCard = () => chosen("payer").startsWith("tok_");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const euro = (amount) => `${amount} €`;

function post(path, body) {
  return fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

/* ---------- the form ---------- */

function showChoice() {
  for (const input of $("methods").querySelectorAll("input")) input.disabled = byCard() && input.value !== "saga";
  if (byCard()) document.querySelector("input[value=saga]").checked = true;
  $("explanation").textContent = EXPLANATIONS[byCard() ? "card" : chosen("method")];
}
$("form").addEventListener("change", showChoice);

// The id is made here: the same click is the same order, however often the request is sent.
$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const card = byCard();
  const order = {
    id: crypto.randomUUID(), sku: chosen("sku"), customer: card ? "Card holder" : chosen("payer"),
    method: card ? "card" : chosen("method"), card: card ? chosen("payer") : undefined,
  };
  $("order").disabled = true;
  while (!(await sent(order))) await pause(500);
  $("order").disabled = false;
  await refresh();
});

// Whether the server has taken the order, or has refused it. If not, the response may have been lost: send it again.
async function sent(order) {
  const response = await post("/api/orders", order).catch(() => null);
  return response !== null && response.status < 500;
}

function showProducts({ products, items }) {
  const before = chosen("sku") ?? products[0]?.sku;
  $("products").replaceChildren(...products.map(({ sku, name, price }) => {
    const available = items?.find((item) => item.sku === sku)?.available;
    return element("label", {},
      element("input", { type: "radio", name: "sku", value: sku, checked: sku === before }),
      element("span", {}, element("b", {}, name), element("em", {}, euro(price)),
        element("small", { className: available === 0 ? "none" : "" },
          available === undefined ? "stock does not respond" : available === 0 ? "sold out" : `${available} in stock`)));
  }));
}

/* ---------- what breaks things ---------- */

let state;
$("break-payment").onclick = () => act("/demo/payment", { running: !state.running.payment });
$("break-stock").onclick = () => act("/demo/stock", { sku: "lamp", available: lamps() === 0 ? 10 : 0 });
$("break-cards").onclick = () => act("/demo/cards", { busy: 2 });
$("break-database").onclick = () => act("/demo/database", {});
$("reset").onclick = () => act("/demo/reset", {});
const lamps = () => state.items?.find(({ sku }) => sku === "lamp")?.available;

async function act(path, body) {
  await post(path, body);
  await refresh();
}

function showBreakers() {
  const { running, cards, processes } = state;
  for (const id of ["break-payment", "break-database"]) $(id).hidden = !processes;
  $("containers").hidden = processes;
  $("break-payment").textContent = running.payment ? "Kill the payment service" : "Start the payment service";
  $("break-payment").className = running.payment ? "" : "broken";
  $("break-stock").textContent = lamps() === 0 ? "Restock lamps" : "Sell out lamps";
  $("break-stock").className = lamps() === 0 ? "broken" : "";
  $("break-cards").textContent = cards?.busy ? `The card company is busy (${cards.busy})` : "Make the card company busy";
  $("break-cards").className = cards?.busy ? "broken" : "";
}

/* ---------- services and orders ---------- */

function service(name, what, content) {
  const down = content === null;
  return element("div", { className: `panel service${down ? " down" : ""}`, id: `service-${name}` },
    element("h3", {}, name, element("i", { title: down ? "does not respond" : "responds" })),
    element("small", {}, what),
    down ? element("p", { className: "none" }, "does not respond") : element("ul", {}, ...content.map(([key, value, note]) =>
      element("li", {}, element("span", {}, key), note ? element("small", {}, note) : null, element("b", {}, value)))));
}

function showServices({ counts, items, accounts, cards }) {
  $("services").replaceChildren(
    service("order", "Node.js · coordinator", [
      ["in progress", String(counts.placed)], ["paid or shipped", String(counts.paid)], ["rejected", String(counts.rejected)]]),
    service("stock", "Go, net/http, pgx", items?.toSorted((a, b) => a.sku.localeCompare(b.sku))
      .map(({ sku, available }) => [sku, String(available)]) ?? null),
    service("payment", "Python, Flask, psycopg", accounts?.map(({ customer, balance, held }) =>
      [customer, euro(balance), held ? `${held} held` : ""]) ?? null),
    service("cards", "another company", cards && [
      ["charged", euro(sum(cards.charges.filter(({ refunded }) => !refunded)))],
      ["refunded", euro(sum(cards.charges.filter(({ refunded }) => refunded)))]]));
}
const sum = (charges) => charges.reduce((total, { amount }) => total + amount, 0);

// The calls of an order; attempts of the same call are one.
function attempts(calls) {
  const found = new Map();
  for (const call of calls) {
    const key = `${call.url} ${call.op}`;
    found.set(key, { ...call, times: (found.get(key)?.times ?? 0) + 1 });
  }
  return [...found.values()];
}

function attempt({ op, url, result, status, error, times }) {
  const undo = ["compensate", "cancel", "rollback"].includes(op);
  const [, where, path] = /^(?:server|sql):([^/.]*)[/.](.*)$/.exec(url) ?? [null, url, ""];
  const what = path === "xa" ? op : path.replace("{$.charge.id}", "ID").replace("_", " ");
  const answer = status ?? (result === "SUCCESS" ? "done" : "no response");
  return element("li", { className: `${result === "SUCCESS" ? "ok" : result === "FAILURE" ? "no" : "wait"}${undo ? " undo" : ""}`,
                         title: error ?? op },
    element("b", {}, where), ` ${what} `, element("em", {}, `${answer}${times > 1 ? `, attempt ${times}` : ""}`));
}

function showOrders({ orders }) {
  if (orders.length === 0) return;
  $("orders").replaceChildren(...orders.map((order) => {
    const card = element("article", { className: order.state },
      element("div", { className: "line" },
        element("b", {}, order.name), element("span", {}, `${euro(order.amount)} · ${order.customer}`),
        element("span", { className: "method" }, METHODS[order.method]),
        element("span", { className: "badge" }, STATES[order.state] +
          (order.state === "placed" && order.progress !== "running" ? `: ${order.progress}` : ""))),
      order.reason ? element("p", { className: "reason" }, order.reason) : null,
      element("ol", {}, ...attempts(order.calls).map(attempt)));
    card.dataset.order = order.id;
    card.dataset.state = order.state;
    return card;
  }));
}

// Only what has changed is drawn again, so that a click does not miss its button.
let drawn;
async function refresh() {
  const response = await fetch("/api/state").catch(() => null);
  document.body.classList.toggle("offline", !response?.ok);
  if (!response?.ok) return;
  const text = await response.text();
  if (text === drawn) return;
  drawn = text;
  state = JSON.parse(text);
  showProducts(state);
  showBreakers();
  showServices(state);
  showOrders(state);
  document.body.dataset.ready = "yes";
}

showChoice();
for (;;) {
  await refresh();
  await pause(500);
}
