// The views that are lists: services, what is in flight, coordinators, topics, schedules, orphans.
import { ago, badge, copy, duration, gidLink, h, longText, many, me, number, plain, quote, read, since, trimmed, until } from './base.js';
import { pause, probe, unsubscribe } from './acts.js';
import { coordinatorProblem, link } from './overview.js';

function page(title, says, ...content) {
	return [h('div', { class: 'head' }, h('div', {}, h('h1', {}, title), says && h('p', { class: 'soft' }, says))), content];
}

// What belongs together, as one element; nothing stays nothing.
export function one(content) {
	const parts = [content].flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false && c !== '');

	return parts.length > 1 ? h('div', {}, parts) : parts;
}

// columns: [name, class, what a row shows]
function table(name, rows, columns, none, key) {
	return h('section', { class: 'card', 'aria-label': name },
		rows.length === 0 ? h('p', { class: 'none' }, none)
			: h('div', { class: 'scroll', 'data-scroll': key ?? name }, h('table', { class: 'cards' },
				h('thead', {}, h('tr', {}, columns.map(([title, kind]) => h('th', { class: kind.startsWith('number') ? 'number' : '' }, title || h('span', { class: 'visually-hidden' }, 'Act'))))),
				h('tbody', {}, rows.map((r) => h('tr', {}, columns.map(([title, kind, what], i) => h('td', { class: (i === 0 ? 'first ' : '') + (kind ?? ''), 'data-label': i === 0 || title === '' ? null : title }, one(what(r))))))))));
}

// ---------- services ----------

function joined(data) {
	const hosts = new Map();
	const of = (name) => {
		if (!hosts.has(name)) hosts.set(name, { host: name, rows: [], calls: null, stuck: null });
		return hosts.get(name);
	};

	for (const row of data.hosts ?? []) of(row.host).rows.push(row);
	for (const row of data.calls) if (row.host) of(row.host).calls = row;
	for (const row of data.waiting) if (row.host) of(row.host).stuck = row;
	return [...hosts.values()].map((s) => {
		const sum = (field) => s.rows.reduce((n, r) => n + (r[field] ?? 0), 0);
		const bad = s.rows.find((r) => r.state === 'open') ?? s.rows.find((r) => r.state === 'probing') ?? s.rows[0];

		return { ...s, state: bad?.state ?? null, next_probe: bad?.next_probe, last_error: s.rows.map((r) => r.last_error).find(Boolean), in_flight: sum('in_flight'), waiting: sum('waiting'), window: sum('window_size') };
	}).sort((a, b) => (a.state === 'open' ? 0 : 1) - (b.state === 'open' ? 0 : 1) || (b.stuck?.transactions ?? 0) - (a.stuck?.transactions ?? 0) || (a.host < b.host ? -1 : 1));
}

const percent = (part, of) => of ? (100 * part / of < 10 && part ? (100 * part / of).toFixed(1) : Math.round(100 * part / of)) + ' %' : '';

export const services = {
	load: () => read('services'),
	render(data) {
		const seconds = (i) => (s) => s.calls ? duration(s.calls.percentiles[i]) : '';
		const columns = [
			['Host', 'wide', (s) => [s.stuck || s.waiting || (s.state && s.state !== 'closed') ? h('a', { class: 'url', href: link({ state: 'active', host: s.host }), 'data-key': 'host ' + s.host }, plain(s.host)) : h('span', { class: 'url' }, plain(s.host)),
				s.last_error && s.state !== 'closed' && h('div', { class: 'error small clip' }, trimmed(s.last_error))]],
			['Circuit', '', (s) => s.state ? [badge(s.state), s.state === 'open' && h('div', { class: 'small soft' }, 'probe ', until(s.next_probe))] : ''],
			['In flight of window', 'nowrap', (s) => s.rows.length ? [h('span', { class: 'meter' + (s.in_flight >= s.window ? ' full' : ''), 'aria-hidden': 'true' }, meter(s)), number(s.in_flight) + ' / ' + number(s.window)] : ''],
			['Waiting', 'number', (s) => s.rows.length ? number(s.waiting) : ''],
			['Calls', 'number', (s) => s.calls ? number(s.calls.calls) : ''],
			['p50', 'number nowrap', seconds(0)], ['p95', 'number nowrap', seconds(1)], ['p99', 'number nowrap', seconds(2)],
			['Errors', 'number nowrap', (s) => s.calls ? h('span', { class: s.calls.errors / s.calls.calls > 0.05 ? 'error' : '' }, percent(s.calls.errors, s.calls.calls)) : ''],
			['Refusals', 'number nowrap', (s) => s.calls ? percent(s.calls.refusals, s.calls.calls) : ''],
			['Stuck', 'number', (s) => s.stuck ? h('a', { href: link({ state: 'stuck', host: s.host }), 'data-key': 'stuck ' + s.host }, number(s.stuck.transactions)) : ''],
			['', '', (s) => me.may.retry && (s.stuck || (s.state && s.state !== 'closed')) && h('button', { class: 'small', type: 'button', 'data-key': 'probe ' + s.host, onclick: () => probe(s.host) }, 'Probe now…')]
		];

		return page('Services', 'Calls, times and rates are those of the newest 2,000 transactions.',
			data.hosts === null && h('p', { class: 'note' }, 'Circuits and windows are shown to members of dtm_admin.'),
			table('Services', joined(data), columns, 'No service has been called yet.'));
	}
};

function meter(s) {
	const bar = h('i');

	bar.style.width = Math.min(100, s.window ? 100 * s.in_flight / s.window : 0) + '%';
	return bar;
}

// ---------- in flight, lanes, dead letters ----------

export const waiting = {
	async load() {
		const [calls, lanes, letters] = await Promise.all([read('in_flight'), read('lanes'), read('dead_letters')]);

		return { calls: calls.rows, lanes: lanes.rows, letters: letters.rows };
	},
	render: (data) => [
		page('In flight', 'Calls that are made now, the longest first; those without a time wait for their turn.'),
		table('Calls in flight', data.calls, [
			['Transaction', '', (c) => gidLink(c.gid)], ['Branch', 'nowrap', (c) => plain(c.branch_id) + ' ' + plain(c.op)], ['URL', 'wide', (c) => h('span', { class: 'url' }, plain(c.url))],
			['For', 'nowrap', (c) => since(c.started, 'waits')], ['Decided', 'nowrap', (c) => ago(c.queued)], ['Coordinator', 'number', (c) => number(c.coordinator)]
		], 'No call is in flight.'),
		h('div', { class: 'head' }, h('div', {}, h('h2', {}, 'Lanes'), h('p', { class: 'soft' }, 'Transactions of a lane run one after another. All of a lane wait for its first.'))),
		table('Lanes', data.lanes, [
			['Lane', '', (l) => plain(l.lane)], ['Waiting', 'number', (l) => number(l.transactions)], ['First', '', (l) => gidLink(l.first)],
			['State', '', (l) => l.parked ? badge('parked') : badge(l.status === 'aborting' ? 'rolling back' : 'running', l.status)],
			['Next attempt', 'nowrap', (l) => until(l.next_attempt, l.parked ? 'none' : 'now')], ['Submitted', 'nowrap', (l) => ago(l.created)], ['Role', '', (l) => plain(l.submitted_by)]
		], 'No lane has transactions.'),
		h('div', { class: 'head' }, h('div', {}, h('h2', {}, 'Dead letters'), h('p', { class: 'soft' }, 'Steps that messages have discarded by their policy, the newest 500.'))),
		table('Dead letters', data.letters, [
			['Message', '', (d) => gidLink(d.gid)], ['Step', '', (d) => plain(d.branch_id)], ['URL', 'wide', (d) => h('span', { class: 'url' }, plain(d.url))],
			['Why', 'wide', (d) => h('span', { class: 'error small' }, trimmed(d.reason))], ['Attempts', 'number', (d) => number(d.attempts)], ['Discarded', 'nowrap', (d) => ago(d.discarded)], ['Role', '', (d) => plain(d.submitted_by)]
		], 'No step was discarded.')
	]
};

// ---------- coordinators ----------

export const coordinators = {
	load: () => read('coordinators'),
	render(data) {
		const rows = data.rows;
		const paused = rows.some((c) => c.state === 'paused' || c.state === 'draining');
		const problems = rows.filter((c) => coordinatorProblem(c));

		return [
			h('div', { class: 'head' }, h('div', {}, h('h1', {}, 'Coordinators'), h('p', { class: 'soft' }, 'Background workers that call the services of this database.')),
				me.may.pause && h('div', { class: 'row' }, paused ? h('button', { class: 'main', type: 'button', 'data-key': 'resume', onclick: () => pause(true) }, 'Resume…')
					: h('button', { class: 'danger', type: 'button', 'data-key': 'pause', onclick: () => pause(false) }, 'Pause…'))),
			problems.map((c) => h('section', { class: 'card verdict red' }, h('div', {}, h('h2', {}, plain(coordinatorProblem(c))), c.hint && h('p', { class: 'soft' }, plain(c.hint))))),
			h('div', { class: 'tiles' }, [['Due', rows[0]?.backlog ?? 0], ['In flight', sum(rows, 'in_flight')], ['Queued', sum(rows, 'queued')], ['In memory', sum(rows, 'loaded')]].map(([name, n]) =>
				h('div', { class: 'tile' + (n ? ' blue' : ' zero') }, h('b', {}, number(n)), h('span', {}, name)))),
			table('Coordinators', rows, [
				['Coordinator', '', (c) => c.coordinator === null ? '–' : number(c.coordinator)], ['State', '', (c) => badge(c.state)], ['Since', 'nowrap', (c) => ago(c.started)], ['Process', 'number', (c) => plain(c.pid ?? '')],
				['In flight', 'number', (c) => number(c.in_flight)], ['Queued', 'number', (c) => number(c.queued)], ['In memory', 'number', (c) => number(c.loaded)],
				['Commits', 'number', (c) => number(c.commits)], ['Ended', 'number', (c) => number(c.finished)], ['Calls', 'number', (c) => number(c.calls)],
				['Call errors', 'number', (c) => number(c.call_errors)], ['Failed turns', 'number', (c) => h('span', { class: c.errors ? 'error' : '' }, number(c.errors))]
			], 'There is no coordinator.'),
			rows[0]?.oldest_due_seconds > 1 && h('p', { class: 'soft' }, 'The oldest that is due has been so for ' + duration(rows[0].oldest_due_seconds) + '.')];
	}
};

const sum = (rows, field) => rows.reduce((n, r) => n + (r[field] ?? 0), 0);

// ---------- topics, schedules, orphans ----------

const sqlButton = (sql, key) => h('button', { class: 'small', type: 'button', 'data-key': key, onclick: (e) => copy(sql, e.target) }, 'Copy as SQL');

export const topics = {
	load: () => read('topics'),
	render: (data) => page('Topics', 'A message to a topic goes to each of its URLs.',
		table('Topics', data.rows, [
			['Topic', '', (t) => h('b', {}, plain(t.topic))], ['URL', 'wide', (t) => t.url ? h('span', { class: 'url' }, plain(t.url)) : h('span', { class: 'soft' }, 'nobody is subscribed')],
			['Remark', '', (t) => plain(t.remark)], ['Changes', 'number', (t) => number(t.version)],
			['', '', (t) => t.url && h('div', { class: 'row' }, me.may.unsubscribe && h('button', { class: 'small', type: 'button', 'data-key': 'un ' + t.topic + t.url, onclick: () => unsubscribe(t.topic, t.url) }, 'Unsubscribe…'),
				sqlButton(`SELECT dtm_unsubscribe(${quote(t.topic)}, ${quote(t.url)});`, 'sql ' + t.topic + t.url))]
		], 'There is no topic. dtm_subscribe(topic, url, remark) creates one.'))
};

export const schedules = {
	load: () => read('schedules'),
	render: (data) => page('Schedules', 'Submits by pg_cron, as far as it shows its jobs to your role.',
		table('Schedules', data.rows, [
			['Name', '', (s) => h('b', {}, plain(s.name))], ['When', 'nowrap', (s) => h('code', {}, plain(s.cron))], ['Role', '', (s) => plain(s.role)],
			['State', '', (s) => s.active ? badge('succeeded', 'on') : badge('stopped', 'off')], ['Last run', 'nowrap', (s) => ago(s.last_run, 'never')],
			['Result', 'wide', (s) => s.last_status ? [badge(s.last_status === 'succeeded' ? 'succeeded' : s.last_status === 'failed' ? 'failed' : 'running', plain(s.last_status)), s.last_status !== 'succeeded' && h('div', { class: 'error small' }, trimmed(s.last_message))] : ''],
			['Request', 'wide', (s) => s.request && h('details', { 'data-key': 'request ' + s.name }, h('summary', {}, 'Show'), longText({ text: s.request.text }, {}))],
			['', '', (s) => sqlButton(`SELECT dtm_unschedule(${quote(s.name)});`, 'sql ' + s.name)]
		], 'There is no schedule. dtm_schedule(name, cron, request) creates one, where pg_cron is installed.'))
};

export const orphans = {
	load: () => read('orphans'),
	render: (data) => page('Orphans', 'Prepared transactions of XA branches that nobody ends. They hold locks. Run the statement in the database that is named.',
		data.rows === null ? h('p', { class: 'note' }, 'Orphans are shown to members of dtm_admin.')
			: table('Orphans', data.rows, [
				['Prepared transaction', 'wide', (o) => h('span', { class: 'gid' }, plain(o.prepared))], ['Since', 'nowrap', (o) => since(o.since)], ['Database', '', (o) => plain(o.database)], ['Owner', '', (o) => plain(o.owner)],
				['Its transaction', '', (o) => o.status ? [gidLink(o.gid), ' ', badge(o.status === 'succeed' ? 'succeeded' : 'failed')] : h('span', { class: 'soft' }, 'not known here')],
				['Statement', 'wide', (o) => o.statement ? h('code', {}, plain(o.statement)) : h('span', { class: 'soft' }, 'ask its coordinator first')],
				['', '', (o) => o.statement && sqlButton(o.statement + ';', 'sql ' + o.prepared)]
			], 'There is no orphan.'))
};
