// The transactions: tabs of states, filters, pages, and acts on many.
import { $, ago, badge, gidLink, h, many, me, number, plain, read, trimmed, until } from './base.js';
import { actOn, acts, finder } from './acts.js';
import { one } from './lists.js';
import { link } from './overview.js';

const tabs = [
	['stuck', 'Needs a person'], ['active', 'Active'], ['running', 'Running'], ['retrying', 'Retrying'], ['rolling back', 'Rolling back'], ['waiting', 'Waiting'],
	['scheduled', 'Scheduled'], ['parked', 'Parked'], ['failed', 'Failed'], ['stopped', 'Stopped'], ['succeeded', 'Succeeded'], ['all', 'All']
];
const active = ['running', 'retrying', 'rolling back', 'waiting', 'scheduled', 'parked'];

// Chosen rows: their gids, and the filter under which they were chosen.
let chosen = new Map();
let chosenIn = '';
let all = false;

function clear() {
	chosen.clear();
	all = false;
}

function filterOf(view) {
	const p = view.parameters;
	const filter = { state: p.state ?? 'active', type: p.type, role: p.role, host: p.host, error: p.error, age: p.age, gid: p.gid };

	for (const key of Object.keys(filter)) if (!filter[key]) delete filter[key];
	return filter;
}

function tabBar(data, filter) {
	const count = (state) => state === 'stuck' ? data.stuck : state === 'active' ? active.reduce((n, s) => n + (data.counts?.[s] ?? 0), 0)
		: state === 'all' ? null : data.counts?.[state] ?? 0;

	return h('nav', { class: 'tabs', 'aria-label': 'State', 'data-scroll': 'tabs' }, tabs.map(([state, name]) => {
		const n = count(state);

		return h('a', { href: link({ ...filter, state }), 'aria-current': filter.state === state ? 'page' : null, 'data-key': 'tab ' + state }, name,
			n ? h('span', { class: 'count' + (state === 'stuck' || state === 'parked' ? ' hot' : '') }, n > 9999 ? Math.round(n / 1000) + 'k' : number(n)) : null);
	}));
}

function filterBar(filter) {
	const choose = (name, label, options) => h('label', {}, label, h('select', { name, 'data-key': 'filter ' + name, onchange: (e) => e.target.form.requestSubmit() },
		options.map(([value, text]) => h('option', { value, selected: (filter[name] ?? '') === value }, text))));
	const text = (name, label, placeholder) => h('label', {}, label,
		h('input', { name, value: filter[name] ?? '', placeholder, autocomplete: 'off', spellcheck: 'false', 'data-key': 'filter ' + name, onchange: (e) => e.target.form.requestSubmit() }));
	const narrowed = Object.keys(filter).length > 1;

	return h('details', { class: 'filterbox', open: narrowed || matchMedia('(min-width: 44rem)').matches, 'data-key': 'filters' }, h('summary', {}, 'Filters'), h('form', { class: 'filters', role: 'search', 'aria-label': 'Filters', onsubmit: (event) => {
		event.preventDefault();
		const next = { state: filter.state };

		for (const [name, value] of new FormData(event.target)) if (value.trim() !== '') next[name] = value.trim();
		if (link(next) !== location.hash) location.hash = link(next);
	} },
		text('gid', 'gid begins with', 'order-'), text('host', 'Host of the last error', 'http://shop:8080'), text('error', 'Error contains', 'time-out'),
		choose('type', 'Type', [['', 'any'], ['saga', 'saga'], ['tcc', 'tcc'], ['xa', 'xa'], ['msg', 'msg'], ['workflow', 'workflow']]),
		choose('age', 'Older than', [['', 'any age'], ['1 minute', '1 minute'], ['10 minutes', '10 minutes'], ['1 hour', '1 hour'], ['1 day', '1 day'], ['7 days', '7 days']]),
		me.sees_all && text('role', 'Role', 'any'),
		h('div', { class: 'row' }, h('button', { type: 'submit', 'data-key': 'apply' }, 'Apply'),
			narrowed && h('a', { href: link({ state: filter.state }), 'data-key': 'clear' }, 'Clear'))));
}

function wrong(t) {
	const text = t.parked_reason ?? (t.state === 'failed' || t.state === 'stopped' ? t.failure ?? t.rollback_reason ?? t.error : t.error);

	return [t.url && h('span', { class: 'url small soft' }, t.op ? plain(t.op) + ' ' : '', plain(t.url)),
		text && h('div', { class: 'error small clip', title: trimmed(text) }, t.http_status && text === t.error ? t.http_status + ': ' : '', trimmed(text))];
}

function row(t, filter, redraw) {
	const box = h('input', { type: 'checkbox', checked: all || chosen.has(t.gid), 'aria-label': 'Choose ' + plain(t.gid), 'data-key': 'choose ' + t.gid, onchange: (e) => {
		all = false;
		if (e.target.checked) chosen.set(t.gid, t.state);
		else chosen.delete(t.gid);
		redraw();
	} });

	return h('tr', { class: box.checked ? 'chosen' : '' },
		h('td', { class: 'pick' }, box),
		h('td', { class: 'first' }, gidLink(t.gid)),
		h('td', { 'data-label': 'State' }, badge(t.state)),
		h('td', { 'data-label': 'Type' }, plain(t.trans_type)),
		h('td', { class: 'number nowrap', 'data-label': 'Step' }, t.current_step ? t.current_step + ' / ' + t.steps : number(t.steps)),
		h('td', { class: 'wide', 'data-label': 'What is wrong' }, one(wrong(t))),
		h('td', { class: 'number', 'data-label': 'Failures' }, t.failures ? number(t.failures) : ''),
		h('td', { class: 'nowrap', 'data-label': t.finished ? 'Ended' : 'Next attempt' }, t.finished ? ago(t.finished) : until(t.next_attempt, t.state === 'running' ? 'now' : 'none')),
		h('td', { class: 'nowrap', 'data-label': 'Submitted' }, ago(t.created)),
		h('td', { 'data-label': 'Role' }, t.submitted_by ? plain(t.submitted_by) : h('span', { class: 'error' }, 'dropped')));
}

// What can be done with those that are chosen.
function bulk(filter, rows, redraw) {
	const n = all ? null : chosen.size;

	if (rows.length === 0 || (!all && n === 0)) return null;
	const states = all ? (filter.state === 'all' ? [...active, 'failed', 'stopped'] : filter.state === 'stuck' || filter.state === 'active' ? active : [filter.state]) : [...chosen.values()];
	const buttons = ['retry', 'resume', 'abort', 'stop', 'resubmit', 'assign'].filter((key) => me.may[key] && states.some((s) => acts[key].states.includes(s)) &&
		(key !== 'assign' || rows.some((t) => !t.submitted_by && (all || chosen.has(t.gid)))));

	return h('section', { class: 'bulk', 'aria-label': 'Acts on what is chosen' },
		h('b', { 'aria-live': 'polite' }, all ? 'All that fit' : number(n) + ' chosen'),
		!all && rows.length > 0 && h('button', { type: 'button', class: 'link', 'data-key': 'all', onclick: () => { all = true; redraw(); } }, 'Choose all that fit'),
		h('span', { class: 'gap' }),
		buttons.map((key) => h('button', { type: 'button', class: acts[key].danger ? 'danger' : '', 'data-key': 'bulk ' + key, onclick: () => actOn(key, all ? null : [...chosen.keys()], all ? finder(filter) : null, clear) }, acts[key].name + '…')),
		buttons.length === 0 && h('span', { class: 'soft' }, 'There is nothing to do with them.'),
		h('button', { type: 'button', class: 'quiet', 'data-key': 'none', onclick: () => { clear(); redraw(); } }, 'Clear'));
}

function table(data, filter, redraw) {
	const every = data.rows.length > 0 && data.rows.every((t) => all || chosen.has(t.gid));
	const body = h('tbody', {}, data.rows.map((t) => row(t, filter, redraw)));

	return h('div', { class: 'scroll', 'data-scroll': 'list' }, h('table', { class: 'cards' },
		h('thead', {}, h('tr', {}, h('th', {}, h('input', { type: 'checkbox', checked: every, 'aria-label': 'Choose all of this page', 'data-key': 'page', onchange: (e) => {
			all = false;
			for (const t of data.rows) if (e.target.checked) chosen.set(t.gid, t.state); else chosen.delete(t.gid);
			redraw();
		} })),
		h('th', {}, 'Transaction'), h('th', {}, 'State'), h('th', {}, 'Type'), h('th', { class: 'number' }, 'Step'), h('th', {}, 'What is wrong'), h('th', { class: 'number' }, 'Failures'),
		h('th', {}, active.includes(filter.state) || filter.state === 'active' || filter.state === 'stuck' ? 'Next attempt' : 'Ended or next'), h('th', {}, 'Submitted'), h('th', {}, 'Role'))), body));
}

export const list = {
	async load(view) {
		const filter = filterOf(view);
		let data = await read('list', { ...filter, before: view.parameters.before });

		// rare ones may stand far back: look there, too, for a while
		for (let i = 0; i < 4 && data.rows.length === 0 && data.next !== null; i++) {
			const more = await read('list', { ...filter, before: data.next });
			data = { ...more };
		}
		return data;
	},

	render(data, view) {
		const filter = filterOf(view);
		const place = h('div', {});

		if (chosenIn !== JSON.stringify(filter)) {
			chosen = new Map();
			all = false;
			chosenIn = JSON.stringify(filter);
		}
		// those that have left this state or page meanwhile stay chosen by name
		for (const t of data.rows) if (chosen.has(t.gid)) chosen.set(t.gid, t.state);

		const draw = () => {
			const focused = document.activeElement?.dataset?.key;

			place.replaceChildren(
				h('section', { class: 'card', 'aria-label': 'Transactions' }, filterBar(filter),
					data.rows.length === 0 ? h('p', { class: 'none' }, Object.keys(filter).length > 1 ? 'None fits these filters.' : filter.state === 'stuck' ? (me.sees_all ? 'Nothing needs a person.' : `No transaction that ${plain(me.role)} is allowed to see needs a person.`) : 'There is none.')
						: table(data, filter, draw),
					h('div', { class: 'more' },
						h('span', {}, many(data.rows.length, 'transaction'), data.next !== null && data.searched ? [', back to those submitted ', ago(data.searched)] : ''),
						h('span', { class: 'row' }, view.parameters.before && h('a', { href: link(filter), 'data-key': 'first' }, 'Newest'),
							data.next !== null && h('a', { class: 'button', href: link({ ...filter, before: data.next }), 'data-key': 'next' }, data.rows.length ? 'Older' : 'Search further back')))),
				bulk(filter, data.rows, draw) ?? '');
			if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
		};
		draw();
		return [h('div', { class: 'head' }, h('h1', {}, 'Transactions')), tabBar(data, filter), place];
	}
};
