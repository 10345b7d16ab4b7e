// What all views use: elements from text alone, requests, words for times and states.

// ---------- elements ----------

// An element.  Whatever comes from the server becomes text, never markup.
export function h(tag, props, ...children) {
	const element = document.createElement(tag);

	for (const [name, value] of Object.entries(props ?? {})) {
		if (value === undefined || value === null || value === false) continue;
		if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
		else if (name === 'value' || name === 'checked' || name === 'disabled') element[name] = value;
		else element.setAttribute(name, value === true ? '' : String(value));
	}
	add(element, children);
	return element;
}

export function add(element, children) {
	for (const child of children.flat(Infinity)) {
		if (child === undefined || child === null || child === false) continue;
		element.append(child instanceof Node ? child : document.createTextNode(String(child)));
	}
}

// Characters that can't be seen, or turn the direction of what follows, as signs.
export function plain(text, lines = false) {
	return String(text ?? '').replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (c) => {
		const code = c.charCodeAt(0);

		if (lines && (c === '\n' || c === '\t')) return c;
		return code < 32 ? String.fromCharCode(0x2400 + code) : '⟨U+' + code.toString(16).toUpperCase().padStart(4, '0') + '⟩';
	});
}

// What a service has said, within a line: a line feed at its end would be shown as a sign.
export const trimmed = (text) => plain(String(text ?? '').trimEnd());

// The same as a sentence, which begins with a capital: not a URL, a host or another name.
export function sentence(text) {
	const words = trimmed(text);

	return /^\p{Ll}[\p{Ll}'-]*(?:[,;:]? |$)/u.test(words) ? words[0].toUpperCase() + words.slice(1) : words;
}

export const $ = (selector, root = document) => root.querySelector(selector);

// ---------- requests ----------

const KEY = 'dtm-token';
let token = sessionStorage.getItem(KEY);
let skew = 0;			// ms that the server's clock is ahead of ours

export function setToken(value) {
	token = value || null;
	if (token) sessionStorage.setItem(KEY, token);
	else sessionStorage.removeItem(KEY);
}

export const hasToken = () => token !== null;

export class Refused extends Error {
	constructor(status, message) {
		super(message);
		this.status = status;
	}
}

async function request(path, options) {
	const headers = { ...options.headers };
	let response;

	if (token) headers.Authorization = 'Bearer ' + token;
	try {
		response = await fetch(path, { ...options, headers, cache: 'no-store', redirect: 'error', credentials: 'same-origin' });
	} catch {
		throw new Refused(0, 'The gateway does not respond.');
	}
	const answer = await response.json().catch(() => ({ message: 'The gateway sent no JSON.' }));
	if (!response.ok) throw new Refused(response.status, answer.message ?? 'status ' + response.status);
	if (answer.now) skew = Date.parse(answer.now) - Date.now();
	return answer;
}

export function read(what, parameters = {}) {
	const query = new URLSearchParams();

	for (const [name, value] of Object.entries(parameters))
		if (value !== undefined && value !== null && value !== '') query.set(name, value);
	return request('/data/' + what + (query.size || query.toString() ? '?' + query : ''), {});
}

export function act(body) {
	return request('/act', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

// ---------- who it is ----------

export const me = {};

// ---------- times ----------

const now = () => Date.now() + skew;

// 0.0042 s is "4.2 ms", 75 s is "1 min 15 s"
export function duration(seconds) {
	if (seconds === null || seconds === undefined) return '';
	const s = Math.abs(Number(seconds));

	if (s < 0.001) return Math.round(s * 1e6) + ' µs';
	if (s < 1) return (s < 0.01 ? (s * 1000).toFixed(1) : Math.round(s * 1000)) + ' ms';
	if (s < 10) return s.toFixed(1) + ' s';
	if (s < 60) return Math.round(s) + ' s';
	if (s < 3600) return Math.floor(s / 60) + ' min' + (s < 600 && Math.floor(s % 60) ? ' ' + Math.floor(s % 60) + ' s' : '');
	if (s < 86400) return Math.floor(s / 3600) + ' h' + (Math.floor(s % 3600 / 60) ? ' ' + Math.floor(s % 3600 / 60) + ' min' : '');
	return Math.floor(s / 86400) + ' d' + (Math.floor(s % 86400 / 3600) ? ' ' + Math.floor(s % 86400 / 3600) + ' h' : '');
}

// Whole units for what counts up or down once a second.
function whole(ms) {
	const s = Math.max(0, Math.round(ms / 1000));

	return s < 10 ? s + ' s' : duration(s);
}

const absolute = (at) => new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export function clockTime(at) {
	const date = new Date(at);

	return date.toLocaleTimeString(undefined, { hour12: false }) + '.' + String(date.getMilliseconds()).padStart(3, '0');
}

function setTimes(element) {
	const at = Date.parse(element.getAttribute('datetime'));

	if (element.dataset.kind === 'until') {
		const left = at - now();
		element.textContent = left > 0 ? 'in ' + whole(left) : 'due now';
	} else if (element.dataset.kind === 'for')
		element.textContent = whole(now() - at);
	else
		element.textContent = whole(now() - at) + ' ago';
}

function timeElement(kind, at, none) {
	if (!at || at === 'infinity' || at === '-infinity') return h('span', { class: 'soft' }, none ?? '–');
	const element = h('time', { datetime: at, 'data-kind': kind, title: absolute(at), class: 'nowrap' });

	setTimes(element);
	return element;
}

export const ago = (at, none) => timeElement('ago', at, none);
export const until = (at, none) => timeElement('until', at, none);
export const since = (at, none) => timeElement('for', at, none);

setInterval(() => document.querySelectorAll('time[data-kind]').forEach(setTimes), 1000);

// ---------- words and colors of states ----------

export const colors = {
	running: 'blue', scheduled: 'violet', waiting: '', retrying: 'amber', parked: 'red', 'rolling back': 'orange',
	succeeded: 'green', failed: 'red', stopped: '', stuck: 'red',
	resolved: 'green', closed: 'green', open: 'red', probing: 'amber',
	paused: 'amber', draining: 'amber', yielding: 'blue', starting: 'blue', gone: '', 'not running': 'red', 'not preloaded': 'red', standby: '',
	'not called': '', 'given up': '',
	SUCCESS: 'green', FAILURE: 'red', ERROR: 'red', ONGOING: 'amber'
};

export const meanings = {
	running: 'is called now, or is due', scheduled: 'waits for its delay', waiting: 'waits for its submit, its lane, or a branch that is not done',
	retrying: 'the last call failed, and is repeated', parked: 'nothing is called until somebody steers it',
	'rolling back': 'its steps are being compensated', succeeded: 'has ended well', failed: 'was rolled back', stopped: 'was ended by force',
	stuck: 'needs a person'
};

export function badge(state, word) {
	const hollow = state === 'waiting' || state === 'scheduled' || state === 'not called' || state === 'stopped' || state === 'given up';

	return h('span', { class: 'badge ' + (colors[state] ?? '') + (hollow ? ' hollow' : ''), title: meanings[state] }, word ?? state);
}

export const number = (n) => Number(n ?? 0).toLocaleString('en-US');
export const many = (n, one, more) => number(n) + ' ' + (Number(n) === 1 ? one : more ?? one + 's');

export const gidLink = (gid) => h('a', { class: 'gid', href: '#/transaction/' + encodeURIComponent(gid), 'data-key': 'gid ' + gid }, plain(gid));

// ---------- what is said ----------

export function say(text, alarm = false) {
	const place = $(alarm ? '#alarm' : '#say');
	const message = h('div', {}, text);

	place.replaceChildren(message);
	setTimeout(() => message.remove(), alarm ? 12000 : 6000);
}

export async function copy(text, button) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		// without TLS, browsers have no clipboard for us
		const area = h('textarea', { value: text, 'aria-hidden': 'true' });

		(button?.closest('dialog') ?? document.body).append(area);
		area.select();
		document.execCommand('copy');
		area.remove();
		button?.focus();
	}
	say('Copied.');
}

// A text of which the server has sent the beginning; the rest is asked for.
export function longText(cut, where, props = {}) {
	if (!cut) return null;
	// a request is shown to the letter
	const shown = (text) => plain(pretty(where.of === 'body' ? text : text.trimEnd()), true);
	const pre = h('pre', { tabindex: '0', ...props }, shown(cut.text));

	if (!cut.length) return pre;
	const button = h('button', { class: 'small', type: 'button', 'data-key': 'more ' + JSON.stringify(where) },
		'Show all ' + number(cut.length) + ' characters');

	button.addEventListener('click', async () => {
		button.disabled = true;
		try {
			const all = await read('more', where);
			pre.textContent = shown(all.text ?? '');
			pre.focus();
			button.remove();
		} catch (error) {
			button.disabled = false;
			say(error.message, true);
		}
	});
	return h('div', {}, pre, button);
}

export function isJson(text) {
	try {
		JSON.parse(text);
		return true;
	} catch {
		return false;
	}
}

// JSON with indents, to the letter: numbers of JavaScript would round those of a payload.  All else as it is.
function pretty(text) {
	let depth = 0;
	const line = () => '\n' + '  '.repeat(depth);

	if (!/^\s*[[{]/.test(text) || !isJson(text)) return text;
	return text.replace(/("(?:[^"\\]|\\.)*")|\s+|([[{])\s*([\]}])|([[{])|([\]}])|(,)|(:)/g, (all, string, left, right, open, close, comma, colon) => {
		if (string) return string;
		if (left) return left + right;
		if (open) depth++;
		if (close) depth--;
		return open ? open + line() : close ? line() + close : comma ? comma + line() : colon ? ': ' : '';
	});
}

// ---------- SQL ----------

export const quote = (value) => value === null || value === undefined ? 'NULL' : "'" + String(value).replaceAll("'", "''") + "'";
