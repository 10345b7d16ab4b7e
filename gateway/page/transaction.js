// One transaction: why nothing happens, its branches, and what has happened.
import { ago, badge, clockTime, copy, duration, gidLink, h, longText, many, me, number, plain, quote, read, sentence, since, trimmed, until } from './base.js';
import { actOn, acts, editStep, mayAct, skipBranch } from './acts.js';

const tones = { nothing: 'green', coordinator: 'red', person: 'red', circuit: 'red', retry: 'amber', lock: 'amber', completion: 'amber', branch: 'amber', lane: 'amber' };

const words = {
	nothing: 'It has ended', coordinator: 'It waits for the coordinator', lock: 'It waits for a lock', response: 'It waits for a response', worker: 'It waits for a worker',
	window: 'It waits for its host\'s window', limit: 'It waits for a free call', circuit: 'Its host does not respond', retry: 'It waits for its next attempt',
	branch: 'Its branch is not done yet', completion: 'Somebody has to complete it', time: 'It waits for its delay', submit: 'It waits for its submit', lane: 'It waits for its lane',
	person: 'It waits for a person', turn: 'It waits for its turn'
};

const ended = (t) => t.finished !== null;

const statements = (gid) => `SELECT * FROM dtm_explain(${quote(gid)});
SELECT branch_id, op, state, attempts, url, last_error, body FROM dtm.branches WHERE gid = ${quote(gid)} ORDER BY ordinal;
SELECT at, event, branch_id, op, result, duration, role, detail FROM dtm.timeline WHERE gid = ${quote(gid)} ORDER BY at;`;

function head(t, gid) {
	const keys = ['retry', 'resume', 'resubmit', 'abort', 'stop'].filter((key) => mayAct(key, t.state));

	if (me.may.assign && !t.submitted_by && !ended(t)) keys.push('assign');
	return h('div', { class: 'head' },
		h('div', {},
			h('p', { class: 'soft small' }, h('a', { href: '#/transactions', 'data-key': 'back' }, 'Transactions'), ' / ', plain(t.trans_type)),
			h('h1', { class: 'gid' }, plain(gid)),
			h('div', { class: 'row' }, badge(t.state), h('button', { class: 'small quiet', type: 'button', 'data-key': 'copy gid', onclick: (e) => copy(gid, e.target) }, 'Copy gid'),
				h('button', { class: 'small quiet', type: 'button', 'data-key': 'copy sql', title: 'Statements that show the same', onclick: (e) => copy(statements(gid), e.target) }, 'Copy as SQL'))),
		h('div', { class: 'row' }, keys.map((key) => h('button', { type: 'button', class: acts[key].danger ? 'danger' : key === keys[0] ? 'main' : '', 'data-key': 'act ' + key, onclick: () => actOn(key, [gid]) }, acts[key].name + '…'))));
}

function why(data) {
	const e = data.explain;
	const t = data.transaction;
	const tone = ended(t) ? (t.state === 'succeeded' ? 'green' : t.state === 'failed' ? 'red' : 'gray') : tones[e.waits_for] ?? 'blue';
	const title = ended(t) ? { succeeded: 'It has succeeded', failed: 'It has failed and was rolled back', stopped: 'It was stopped by force' }[t.state] : words[e.waits_for] ?? e.waits_for;

	return h('section', { class: 'card why ' + tone, 'aria-labelledby': 'why' }, h('div', { class: 'in' },
		h('h2', { class: 'big', id: 'why' }, title, !ended(t) && e.next_attempt && Date.parse(e.next_attempt) ? [', ', until(e.next_attempt)] : ''),
		e.detail && !ended(t) && h('p', { class: 'sentence' }, sentence(e.detail) + '.'),
		t.parked_reason && t.submitted_by && h('p', { class: 'sentence' }, sentence(t.parked_reason)),
		ended(t) && h('p', {}, [ended(t) && ['Ended ', ago(t.finished), ', after ', duration((Date.parse(t.finished) - Date.parse(t.created)) / 1000), '.']]),
		t.rollback_reason && h('p', {}, 'Reason of the rollback: ', h('span', { class: 'error' }, trimmed(t.rollback_reason))),
		t.failed_branch && t.failure && h('div', {}, h('p', { class: 'small soft' }, `${plain(t.failed_op)} of branch ${plain(t.failed_branch)} has answered:`), longText(t.failure, { of: 'failure', gid: t.gid })),
		!t.failure && e.last_error && !ended(t) && h('div', {}, h('p', { class: 'small soft' }, 'The last error:'), longText(e.last_error, { of: 'failure', gid: t.gid })),
		e.help && h('p', { class: 'soft' }, plain(e.help))));
}

// ---------- branches ----------

function branchRow(b, data, isFirst) {
	const t = data.transaction;
	const open = !ended(t) && b.state !== 'succeeded' && b.state !== 'failed' && b.url;
	const inFlight = data.in_flight.find((f) => f.branch_id === b.branch_id && f.op === b.op);
	const result = data.results.find((r) => r.branch_id === b.branch_id && r.op === b.op);
	const ops = data.branches.filter((o) => o.branch_id === b.branch_id);
	const idle = b.state === 'not called' || !b.url;

	return h('div', { class: 'branch' + (idle ? ' idle' : '') },
		h('div', { class: 'what' },
			h('b', {}, plain(b.branch_id)), h('span', {}, plain(b.op)), inFlight ? badge('running', inFlight.started ? 'in flight' : 'queued') : badge(b.url ? b.state : 'not called', b.url ? null : 'no call'),
			b.attempts > 0 && h('span', { class: 'soft small' }, many(b.attempts, 'call')), b.last_attempt && h('span', { class: 'soft small' }, 'last ', ago(b.last_attempt)),
			inFlight?.started && h('span', { class: 'small' }, 'for ', since(inFlight.started)),
			b.complete_until && h('span', { class: 'small' }, 'to be completed ', until(b.complete_until)),
			h('span', { class: 'buttons' },
			open && isFirst && me.may.edit && (t.trans_type === 'saga' || t.trans_type === 'msg' || t.trans_type === 'tcc' || t.trans_type === 'xa') &&
				h('button', { class: 'small', type: 'button', 'data-key': 'edit ' + b.ordinal, onclick: () => editStep(t.gid, b.branch_id, ops) }, 'Change…'),
			open && me.may.skip && (b.state === 'retrying' || b.state === 'parked' || b.state === 'waiting') &&
				h('button', { class: 'small', type: 'button', 'data-key': 'skip ' + b.ordinal, onclick: () => skipBranch(t.gid, b.branch_id, b.op) }, 'Answer for it…'))),
		b.url && h('div', { class: 'url small' }, plain(b.url)), b.topic && h('div', { class: 'soft small' }, 'from ', plain(b.topic)),
		b.last_error && b.state !== 'succeeded' && h('div', { class: 'error small clip' }, trimmed(b.last_error.text)),
		isFirst && b.body && h('details', { 'data-key': 'body ' + b.ordinal }, h('summary', {}, 'Request' + (b.is_hex ? ' (bytes, in hexadecimal)' : '')), longText(b.body, { of: 'body', gid: t.gid, ordinal: b.ordinal })),
		b.last_error && b.last_error.text.length > 160 && h('details', { 'data-key': 'error ' + b.ordinal }, h('summary', {}, 'Error'), longText(b.last_error, { of: 'last_error', gid: t.gid, ordinal: b.ordinal })),
		result && (result.result || result.note) && h('details', { 'data-key': 'result ' + b.ordinal }, h('summary', {}, 'Result'),
			result.result ? longText(result.result, { of: 'result', gid: t.gid, branch_id: result.branch_id, op: result.op }) : h('p', { class: 'soft small' }, trimmed(result.note))));
}

function branches(data) {
	const seen = new Set();
	// in the order in which people think of them: a branch, and what is asked of it first
	const weight = (b) => ['action', 'try', 'confirm', 'commit', 'msg'].includes(b.op) ? 0 : 1;
	const sorted = [...data.branches].sort((a, b) => a.branch_id < b.branch_id ? -1 : a.branch_id > b.branch_id ? 1 : weight(a) - weight(b) || a.ordinal - b.ordinal);

	return h('section', { class: 'card', 'aria-labelledby': 'branches' }, h('header', {}, h('h2', { id: 'branches' }, 'Branches')),
		sorted.length === 0 ? h('p', { class: 'none' }, 'It has no branch.')
			: sorted.map((b) => { const first = !seen.has(b.branch_id); seen.add(b.branch_id); return branchRow(b, data, first); }),
		data.branches.length >= 400 && h('p', { class: 'none' }, 'Only the first 400 are shown.'));
}

// ---------- the timeline ----------

const callColors = { SUCCESS: 'green', FAILURE: 'red', ERROR: 'red', ONGOING: 'amber' };
const callWords = { SUCCESS: 'succeeded', FAILURE: 'was refused for good', ERROR: 'failed', ONGOING: 'is not done yet' };

// Whoever has answered the same as before is not repeated at length.
function event(e, data, number_of, before) {
	const gid = data.transaction.gid;
	const time = h('time', { datetime: e.at, title: new Date(e.at).toLocaleString() }, clockTime(e.at));
	const same = before && e.detail && before.text === e.detail.text;
	const detail = e.detail && !same && longText(e.detail, { of: 'detail', gid, at: e.at });

	if (e.event === 'call') {
		const call = data.calls.find((c) => c.started === e.at && c.branch_id === e.branch_id && c.op === e.op);
		const status = call?.grpc_status !== null && call?.grpc_status !== undefined ? 'gRPC ' + call.grpc_status : call?.http_status ? 'HTTP ' + call.http_status : null;

		return h('li', { class: callColors[e.result] ?? '' },
			h('div', { class: 'what' }, time, h('b', {}, `${plain(e.op)} of ${plain(e.branch_id)}`), h('span', {}, callWords[e.result] ?? plain(e.result)),
				h('span', { class: 'soft small' }, [status, duration(e.seconds), number_of > 1 ? 'attempt ' + number_of : null, same ? 'the same answer' : null].filter(Boolean).join(' · '))),
			call?.url && !same && h('div', { class: 'url small soft' }, plain(call.url)), detail);
	}
	if (e.event === 'created')
		return h('li', { class: 'blue' }, h('div', { class: 'what' }, time, h('b', {}, data.transaction.status === 'prepared' ? 'prepared' : 'submitted'), e.role && h('span', { class: 'soft' }, 'by ' + plain(e.role))));
	if (e.event === 'ended')
		return h('li', { class: e.result === 'succeed' ? 'green' : 'red' }, h('div', { class: 'what' }, time, h('b', {}, e.result === 'succeed' ? 'succeeded' : data.transaction.state === 'stopped' ? 'stopped' : 'failed')), detail);
	const act = data.acts.find((a) => a.done === e.at && a.what === e.event);

	return h('li', { class: 'violet' },
		h('div', { class: 'what' }, time, h('b', {}, plain(e.event)), e.branch_id && h('span', {}, [plain(e.op), plain(e.branch_id)].filter(Boolean).join(' of ')), h('span', { class: 'soft' }, e.role ? 'by ' + plain(e.role) : 'by a role that was dropped')),
		e.detail && h('div', { class: 'reason' }, '“' + plain(e.detail.text) + '”'),
		act?.detail && h('details', { 'data-key': 'act ' + act.ordinal }, h('summary', {}, 'What was changed'), longText(act.detail, { of: 'act', gid, ordinal: act.ordinal })));
}

function timeline(data) {
	const t = data.transaction;
	const attempts = new Map();
	const answers = new Map();
	const items = data.timeline.map((e) => {
		const key = e.branch_id + ' ' + e.op;

		if (e.event === 'call') attempts.set(key, (attempts.get(key) ?? 0) + 1);
		const before = answers.get(key);

		if (e.event === 'call') answers.set(key, e.detail);
		return event(e, data, data.events > data.timeline.length ? 0 : attempts.get(key), e.event === 'call' ? before : null);
	});

	for (const f of data.in_flight)
		items.push(h('li', { class: 'next blue' }, h('div', { class: 'what' }, h('span', { class: 'time' }, 'now'), h('b', {}, `${plain(f.op)} of ${plain(f.branch_id)}`),
			h('span', {}, f.started ? ['in flight for ', since(f.started)] : 'waits for its turn')), h('div', { class: 'url small soft' }, plain(f.url))));
	if (!ended(t) && data.in_flight.length === 0)
		items.push(h('li', { class: 'next ' + (t.state === 'parked' ? 'red' : t.next_attempt ? 'blue' : '') }, h('div', { class: 'what' }, h('span', { class: 'time' }, 'next'),
			t.state === 'parked' ? h('b', {}, 'nothing, until somebody acts') : t.next_attempt ? [h('b', {}, 'it is looked at again'), until(t.next_attempt)] : h('b', {}, words[data.explain.waits_for] ?? 'it waits'))));
	return h('section', { class: 'card', 'aria-labelledby': 'timeline' }, h('header', {}, h('h2', { id: 'timeline' }, 'Timeline'),
		h('span', { class: 'soft small' }, data.events > data.timeline.length ? `the last ${data.timeline.length} of ${number(data.events)} events` : many(data.events, 'event'))),
		h('ol', { class: 'line' }, items));
}

// ---------- facts ----------

function facts(t, data) {
	const rows = [
		['Type', plain(t.trans_type)], ['Status for dtm\'s clients', plain(t.status)], ['Role', t.submitted_by ? plain(t.submitted_by) : 'dropped'],
		['Submitted', [ago(t.created), ' · ', new Date(t.created).toLocaleString()]], ['Changed', ago(t.updated)],
		t.finished && ['Ended', [ago(t.finished), ' · ', new Date(t.finished).toLocaleString()]],
		['Steps', (t.current_step ? t.current_step + ' of ' : '') + number(t.steps)], ['Failures', number(t.failures)],
		t.parent && ['Tells of the end of', gidLink(t.parent)], ['Number', h('span', { class: 'mono' }, t.id)]
	].filter(Boolean);
	const options = Object.entries(t.options ?? {});

	return h('section', { class: 'card', 'aria-labelledby': 'facts' }, h('header', {}, h('h2', { id: 'facts' }, 'Facts')),
		h('div', { class: 'in' }, h('dl', { class: 'facts' }, rows.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]),
			options.map(([name, value]) => [h('dt', {}, h('code', {}, plain(name))), h('dd', { class: 'mono' }, plain(typeof value === 'string' ? value : JSON.stringify(value)))]))),
		t.result && h('div', { class: 'in' }, h('p', { class: 'small soft' }, 'Result of the workflow, in base64:'), longText({ text: t.result.text }, {})),
		data.dead_letters.length > 0 && h('div', { class: 'in' }, h('h2', {}, 'Discarded steps'), data.dead_letters.map((d) => h('p', { class: 'small' }, plain(d.branch_id) + ': ', h('span', { class: 'error' }, trimmed(d.reason)), ' ', ago(d.discarded)))));
}

export const transaction = {
	load: (view) => read('transaction', { gid: view.argument }),
	render(data, view) {
		const t = data.transaction;

		if (!t)
			return h('div', { class: 'card' }, h('div', { class: 'in' }, h('h1', {}, 'There is no transaction ', h('span', { class: 'gid' }, plain(view.argument))),
				h('p', { class: 'soft' }, 'Or your role may not see it. Finished ones are removed after dtm.retention.'),
				h('p', {}, h('a', { href: '#/transactions?' + new URLSearchParams({ state: 'all', gid: view.argument }) }, 'Look for gids that begin so'))));
		return [head(t, t.gid), why(data),
			h('div', { class: 'two uneven' }, h('div', {}, timeline(data)), h('div', {}, branches(data), facts(t, data)))];
	}
};
