// The page: who it is, the views, and what is loaded again.
import { $, add, h, hasToken, me, plain, read, Refused, setToken } from './base.js';
import { isBusy, setAfter } from './acts.js';
import { coordinators, orphans, schedules, services, topics, waiting } from './lists.js';
import { overview } from './overview.js';
import { list } from './list.js';
import { transaction } from './transaction.js';

const EVERY = 5000;			// ms between two looks

const views = [
	['overview', 'Overview', overview],
	['transactions', 'Transactions', list],
	['services', 'Services', services],
	['waiting', 'In flight', waiting],
	['coordinators', 'Coordinators', coordinators],
	['topics', 'Topics', topics],
	['schedules', 'Schedules', schedules],
	['orphans', 'Orphans', orphans]
];

let current = null;		// the view, with its name, arguments and parameters
let turn = 0;			// of loading: an answer that comes too late is not shown
let last = 0;
let live = true;
let asking = false;		// for a token
let problem = null;
let isFirst = true;		// the focus is the browser's then

// ---------- where we are ----------

// "#/transactions?state=stuck", "#/transaction/gid"
function place() {
	const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
	const [name, ...rest] = path.split('/');
	let argument = rest.join('/');

	try { argument = decodeURIComponent(argument); } catch { /* as it is */ }
	return { name: name || 'overview', argument, parameters: Object.fromEntries(new URLSearchParams(query ?? '')) };
}

function find(name) {
	if (name === 'transaction') return ['transaction', 'Transaction', transaction];
	return views.find((v) => v[0] === name) ?? views[0];
}

async function go(moved = true) {
	if (location.hash !== '' && !location.hash.startsWith('#/')) return;
	const at = place();
	const [name, title, view] = find(at.name);

	current = { ...at, name, title, view };
	if (moved) {
		$('#main').replaceChildren(h('p', { class: 'soft' }, 'Loading…'));
		window.scrollTo(0, 0);
	}
	head();
	await load(moved);
}

// ---------- loading ----------

async function load(moved = false) {
	const mine = ++turn;
	const view = current;

	last = Date.now();
	try {
		if (!me.role) Object.assign(me, await read('me'));
		const data = await view.view.load(view);

		if (mine !== turn) return;
		problem = null;
		head();
		show(view.view.render(data, view), moved);
		document.title = (view.name === 'transaction' ? plain(view.argument) : view.title) + ' · dtm ' + me.database;
	} catch (error) {
		if (mine !== turn) return;
		if (!(error instanceof Refused)) console.error(error);
		failed(error, moved);
	}
}

function failed(error, moved) {
	if (error.status === 401) {
		login(hasToken() ? 'This token is not known here, or not valid any more.' : null);
		return;
	}
	problem = error.message;
	head();
	if (moved || !me.role)
		show(h('div', { class: 'card' }, h('div', { class: 'in' }, h('h1', {}, 'It could not be loaded'), h('p', { class: 'error' }, plain(error.message)),
			h('p', {}, h('button', { type: 'button', onclick: () => load(true) }, 'Try again')))), moved);
}

// Puts a view in place of the one before it; who has had the focus keeps it, and what was open is.
function show(content, moved) {
	const main = $('#main');
	const opened = [...main.querySelectorAll('details[open][data-key]')].map((d) => d.dataset.key);
	const focused = main.contains(document.activeElement) ? document.activeElement.dataset.key : null;
	const scrolled = [...main.querySelectorAll('[data-scroll]')].map((e) => [e.dataset.scroll, e.scrollLeft, e.scrollTop]);

	main.replaceChildren();
	add(main, [content]);
	for (const details of main.querySelectorAll('details[data-key]'))
		if (opened.includes(details.dataset.key)) details.open = true;
	for (const [key, left, top] of scrolled) {
		const element = main.querySelector(`[data-scroll="${CSS.escape(key)}"]`);

		if (element) element.scrollTo(left, top);
	}
	if (moved) {
		if (!isFirst) main.focus({ preventScroll: true });
		isFirst = false;
		$('[aria-current]', main)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
		$('#say').replaceChildren();
	} else if (focused)
		main.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

// Not while somebody writes, chooses, or has opened what would be closed.
function isInUse() {
	const active = document.activeElement;

	return isBusy() || document.hidden || !live || asking || !current || !getSelection().isCollapsed ||
		(active && $('#main').contains(active) && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName) && active.type !== 'checkbox') ||
		$('#main').dataset.hold === '1';
}

setInterval(() => {
	if (Date.now() - last >= EVERY && !isInUse()) load();
}, 1000);
document.addEventListener('visibilitychange', () => { if (!document.hidden && !asking && live) load(); });

// ---------- the head ----------

function theme() {
	const dark = matchMedia('(prefers-color-scheme: dark)').matches;
	const chosen = document.documentElement.dataset.theme ?? (dark ? 'dark' : 'light');
	const next = chosen === 'dark' ? 'light' : 'dark';

	document.documentElement.dataset.theme = next;
	localStorage.setItem('dtm-theme', next);
	head();
}

function head() {
	if (!me.role) {
		$('#top').replaceChildren();
		return;
	}
	const top = $('#top');
	const focused = top.contains(document.activeElement) ? document.activeElement.dataset.key : null;
	const typed = $('#find')?.value ?? '';
	const here = current.name === 'transaction' ? 'transactions' : current.name;
	const dark = (document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';

	if (focused === 'find' && typed !== '') return;
	top.replaceChildren();
	add(top, [h('div', { class: 'bar' },
		h('a', { class: 'brand', href: '#/overview', 'data-key': 'brand' }, h('img', { src: '/icon.svg', alt: '', width: 24, height: 24 }), 'dtm',
			h('span', { class: 'soft' }, plain(me.database))),
		h('nav', { class: 'nav', 'aria-label': 'Views', 'data-scroll': 'nav' }, views.map(([name, title]) =>
			h('a', { href: '#/' + name, 'aria-current': name === here ? 'page' : null, 'data-key': 'nav ' + name }, title))),
		h('div', { class: 'tools' },
			h('form', { class: 'find', role: 'search', onsubmit: (e) => {
				e.preventDefault();
				const gid = $('#find').value.trim();

				if (gid !== '') location.hash = '#/transaction/' + encodeURIComponent(gid);
				$('#find').value = '';
				$('#find').blur();
			} }, h('input', { id: 'find', type: 'search', placeholder: 'Go to gid', 'aria-label': 'Go to a transaction by its gid', size: 16, autocomplete: 'off', spellcheck: 'false', 'data-key': 'find', value: typed })),
			h('button', { class: 'quiet', type: 'button', 'data-key': 'live', 'aria-pressed': String(live), title: live ? 'Stop updating' : 'Update again', onclick: () => { live = !live; head(); if (live) load(); } },
				h('span', { class: 'live' + (problem ? ' bad' : live ? '' : ' off') }, problem ? 'No answer' : live ? 'Live' : 'Paused')),
			h('button', { class: 'quiet', type: 'button', 'data-key': 'theme', 'aria-label': dark ? 'Light colors' : 'Dark colors', title: dark ? 'Light colors' : 'Dark colors', onclick: theme }, dark ? '☀' : '☾'),
			h('span', { class: 'who', title: 'You are role ' + plain(me.role) + (me.sees_all ? ', and see the transactions of all roles' : ', and see its transactions') }, plain(me.role)),
			hasToken() && h('button', { class: 'quiet', type: 'button', 'data-key': 'out', onclick: () => { setToken(null); forget(); login(null); } }, 'Log out'))),
		problem && h('div', { class: 'note red small', role: 'alert' }, plain(problem))]);
	if (focused) top.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
	$('.nav [aria-current]', top)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}

// ---------- logging in ----------

function forget() {
	for (const key of Object.keys(me)) delete me[key];
	turn++;
}

function login(complaint) {
	forget();
	asking = true;
	setToken(null);
	head();
	document.title = 'Log in · dtm';
	const token = h('input', { id: 'token', name: 'token', type: 'password', autocomplete: 'current-password', required: true, spellcheck: 'false', 'aria-describedby': 'token-hint' });
	const form = h('form', { class: 'in', onsubmit: async (event) => {
		event.preventDefault();
		setToken(token.value.trim());
		asking = false;
		await go();
	} },
		complaint && h('p', { class: 'note red', role: 'alert' }, complaint),
		h('div', { class: 'field' }, h('label', { for: 'token' }, 'Token'), token,
			h('span', { class: 'soft', id: 'token-hint' }, 'Whoever has it is its role here. It is kept in this tab only.')),
		h('div', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Log in')),
		h('details', {}, h('summary', {}, 'I have no token'),
			h('p', { class: 'small soft' }, 'An administrator creates one for your role, which must be granted to the gateway\'s:'),
			h('pre', { tabindex: '0' }, 'GRANT your_role TO dtm_gateway;\nSELECT dtm_create_token(\'your_role\', valid => \'12 hours\');')));

	show(h('div', { class: 'lonely login' }, h('h1', {}, h('img', { src: '/icon.svg', alt: '', width: 32, height: 32 }), 'dtm'), h('div', { class: 'card' }, form)), true);
	token.focus();
}

// ---------- start ----------

const chosen = localStorage.getItem('dtm-theme');

if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
setAfter((error) => { if (error?.status === 401) login('This token is not valid any more.'); else load(); });
window.addEventListener('hashchange', () => { if (me.role || hasToken()) go(); });
document.addEventListener('keydown', (event) => {
	if (event.key === '/' && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName) && !isBusy() && $('#find')) {
		event.preventDefault();
		$('#find').focus();
	}
});
go();
