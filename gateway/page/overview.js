// The overview: does it run, what needs a person, how much there is.
import { ago, badge, colors, duration, gidLink, h, many, me, meanings, number, plain, read, sentence, since, trimmed, until } from './base.js';
import { actOn, finder } from './acts.js';

const order = ['running', 'waiting', 'scheduled', 'retrying', 'rolling back', 'parked', 'failed', 'stopped', 'succeeded'];

export const stateLink = (state, filter = {}) => '#/transactions?' + new URLSearchParams({ state, ...filter });

export const link = (filter) => '#/transactions?' + new URLSearchParams(filter);

// In words, why a coordinator does nothing.
export function coordinatorProblem(c) {
	if (c.state === 'running' || c.state === 'starting') return null;
	return `Coordinator ${c.coordinator ?? ''} is ${c.state}`.replace('  ', ' ') + (c.reason ? ': ' + c.reason.replace(/\.$/, '') : '') + '.';
}

function verdict(data) {
	const broken = data.coordinators.map(coordinatorProblem).filter(Boolean);
	const open = data.hosts?.length ?? 0;
	const parts = [];

	if (broken.length > 0)
		return h('section', { class: 'card verdict red' }, h('div', {},
			h('h1', {}, data.coordinators.some((c) => c.state === 'running') ? 'Some coordinators do not run' :
				data.coordinators.some((c) => c.state === 'draining') ? 'No new calls are made' : 'Nothing is called'),
			broken.map((text) => h('p', {}, plain(text))),
			[...new Set(data.coordinators.map((c) => c.hint).filter(Boolean))].map((hint) => h('p', { class: 'soft' }, plain(hint)))));
	if (data.stuck > 0) parts.push(many(data.stuck, 'transaction needs', 'transactions need') + ' a person');
	if (open > 0) parts.push(many(open, 'host does', 'hosts do') + ' not respond');
	return h('section', { class: 'card verdict ' + (data.stuck > 0 ? 'red' : open > 0 ? 'amber' : '') }, h('div', {},
		h('h1', {}, parts.length ? parts.join(', ') : 'All is well' + (me.sees_all ? '' : ' with the transactions of ' + plain(me.role))),
		h('p', { class: 'soft' },
			many(data.in_flight.calls, 'call is', 'calls are') + ' in flight',
			data.in_flight.longest ? ', the longest for ' + duration(data.in_flight.longest) : '', '. ',
			many(data.coordinators[0]?.backlog ?? 0, 'transaction is', 'transactions are') + ' due',
			data.coordinators.length ? '. ' + many(data.coordinators.length, 'coordinator runs', 'coordinators run') + '.' : '.'),
		!me.sees_all && h('p', { class: 'soft' }, `The page shows only transactions that ${plain(me.role)} is allowed to see.`)));
}

function tiles(data) {
	const counts = Object.fromEntries(data.counts.map((c) => [c.state, c]));

	return h('nav', { class: 'tiles', 'aria-label': 'Transactions by state' }, order.map((state) => {
		const count = counts[state]?.transactions ?? 0;
		const exact = counts[state]?.exact ?? true;

		return h('a', { class: 'tile ' + (colors[state] ?? '') + (count ? '' : ' zero'), href: stateLink(state), title: meanings[state], 'data-key': 'tile ' + state },
			h('b', {}, (exact ? '' : state === 'succeeded' ? '~' : '≥ ') + number(count)), h('span', {}, state));
	}));
}

function causes(data) {
	const rows = data.causes.map((c) => {
		const filter = { state: 'stuck', host: c.host, error: c.error ? c.error.slice(0, 60) : '' };

		for (const key of Object.keys(filter)) if (!filter[key]) delete filter[key];
		const key = (c.host ?? '') + (c.error ?? '') + c.reason + c.help;
		const act = c.help.includes('dtm_assign') ? 'assign' : c.state === 'parked' ? 'resume' : 'retry';
		// without either, a filter would be for all that is stuck
		const target = c.transactions === 1 ? [c.gid] : c.host || c.error ? null : undefined;

		return h('tr', {},
			h('td', { class: 'first wide' }, h('span', { class: 'url' }, plain(c.host ?? '–')), c.error && h('div', { class: 'error small clip' }, (c.http_status ? c.http_status + ': ' : '') + trimmed(c.error)),
				!c.error && h('div', { class: 'soft small' }, trimmed(c.reason))),
			h('td', { class: 'number', 'data-label': 'Transactions' }, c.transactions === 1 ? gidLink(c.gid) : h('a', { href: link(filter), 'data-key': 'cause ' + key }, number(c.transactions))),
			h('td', { 'data-label': 'Since' }, since(c.since)),
			h('td', { 'data-label': 'Next attempt' }, until(c.next_attempt, 'none')),
			h('td', { class: 'wide small', 'data-label': 'What helps' }, plain(c.help)),
			h('td', {}, me.may[act] && target !== undefined && h('button', { class: 'small', type: 'button', 'data-key': 'retry ' + key, onclick: () => actOn(act, target, target ? null : finder(filter)) },
				{ assign: 'Assign…', resume: 'Resume…', retry: 'Retry…' }[act])));
	});

	return h('section', { class: 'card', 'aria-labelledby': 'causes' },
		h('header', {}, h('h2', { id: 'causes' }, 'Needs a person'), data.stuck > 0 && h('a', { href: stateLink('stuck'), 'data-key': 'all stuck' }, 'Show all ' + number(data.stuck))),
		rows.length === 0 ? h('p', { class: 'none' }, me.sees_all ? 'Nothing is stuck, parked, or without a role.' : `No transaction that ${plain(me.role)} is allowed to see is stuck or parked.`)
			: h('div', { class: 'scroll', 'data-scroll': 'causes' }, h('table', { class: 'cards' },
				h('thead', {}, h('tr', {}, h('th', {}, 'Host and error'), h('th', { class: 'number' }, 'Transactions'), h('th', {}, 'Since'), h('th', {}, 'Next attempt'), h('th', {}, 'What helps'), h('th', {}, h('span', { class: 'visually-hidden' }, 'Act')))),
				h('tbody', {}, rows))));
}

function hosts(data) {
	if (!data.hosts || data.hosts.length === 0) return null;
	return h('section', { class: 'card', 'aria-labelledby': 'open' },
		h('header', {}, h('h2', { id: 'open' }, 'Hosts that do not respond'), h('a', { href: '#/services', 'data-key': 'services' }, 'Services')),
		h('div', { class: 'scroll' }, h('table', { class: 'cards' },
			h('thead', {}, h('tr', {}, h('th', {}, 'Host'), h('th', {}, 'Circuit'), h('th', { class: 'number' }, 'Waiting'), h('th', {}, 'Next probe'), h('th', {}, 'Last error'))),
			h('tbody', {}, data.hosts.map((host) => h('tr', {},
				h('td', { class: 'first' }, h('a', { class: 'url', href: link({ state: 'active', host: host.host }), 'data-key': 'host ' + host.host }, plain(host.host))),
				h('td', { 'data-label': 'Circuit' }, badge(host.state)), h('td', { class: 'number', 'data-label': 'Waiting' }, number(host.waiting)),
				h('td', { 'data-label': 'Next probe' }, until(host.next_probe)), h('td', { class: 'error small wide', 'data-label': 'Last error' }, trimmed(host.last_error))))))));
}

function alerts(data) {
	if (!data.alerts) return null;
	return h('section', { class: 'card', 'aria-labelledby': 'alerts' },
		h('header', {}, h('h2', { id: 'alerts' }, 'Alerts'), h('span', { class: 'soft small' }, 'what has been told, open ones first')),
		h('div', { class: 'scroll' }, h('table', { class: 'cards' },
			h('thead', {}, h('tr', {}, h('th', {}, 'Alert'), h('th', {}, 'State'), h('th', { class: 'number' }, 'Transactions'), h('th', {}, 'Since'), h('th', {}, 'Over'), h('th', {}, 'What helps'))),
			h('tbody', {}, data.alerts.map((a) => h('tr', {},
				h('td', { class: 'first wide' }, h('span', { class: 'sentence' }, sentence(a.message)), a.error && h('div', { class: 'error small clip' }, trimmed(a.error)), a.gid && h('div', { class: 'small' }, gidLink(a.gid))),
				h('td', { 'data-label': 'State' }, badge(a.state)), h('td', { class: 'number', 'data-label': 'Transactions' }, number(a.state === 'open' ? a.count : a.most)),
				h('td', { 'data-label': 'Since' }, ago(a.since)), h('td', { 'data-label': 'Over' }, a.resolved ? ago(a.resolved) : ''),
				h('td', { class: 'small wide', 'data-label': 'What helps' }, a.state === 'open' ? plain(a.help) : '')))))));
}

function failed(data) {
	return h('section', { class: 'card', 'aria-labelledby': 'failed' },
		h('header', {}, h('h2', { id: 'failed' }, 'Failed last'), h('a', { href: stateLink('failed'), 'data-key': 'all failed' }, 'Show all')),
		data.failed.length === 0 ? h('p', { class: 'none' }, 'None has failed.')
			: h('div', { class: 'scroll' }, h('table', { class: 'cards' },
				h('thead', {}, h('tr', {}, h('th', {}, 'Transaction'), h('th', {}, 'Ended'), h('th', {}, 'Branch'), h('th', {}, 'Why'))),
				h('tbody', {}, data.failed.map((t) => h('tr', {},
					h('td', { class: 'first' }, gidLink(t.gid)), h('td', { 'data-label': 'Ended' }, ago(t.finished)),
					h('td', { 'data-label': 'Branch', class: 'nowrap' }, t.failed_branch ? plain(t.failed_branch) + ' ' + plain(t.failed_op) : ''),
					h('td', { class: 'small wide', 'data-label': 'Why' }, h('span', { class: 'error clip' }, trimmed(t.failure ?? t.rollback_reason)))))))));
}

export const overview = {
	load: () => read('overview'),
	render: (data) => [verdict(data), tiles(data), causes(data), hosts(data), alerts(data), failed(data)]
};
