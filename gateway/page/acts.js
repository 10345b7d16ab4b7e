// What an operator does: each act asks first, wants a reason, shows its SQL, and adds up at the end.
import { $, act, add, copy, h, isJson, many, me, number, plain, quote, read, Refused } from './base.js';

const CHUNK = 50;			// gids of a request
const MOST = 20000;			// gids of a bulk act

// Whether a state allows an act; what it does; how it is written in SQL.
export const acts = {
	retry: {
		name: 'Retry now', done: 'retried', states: ['scheduled', 'running', 'waiting', 'retrying', 'rolling back'],
		says: 'The next call is made at once. Do this when the cause is mended; otherwise it waits for its next attempt by itself.',
		sql: (gid, reason) => `SELECT dtm_retry_now(${gid}, ${reason});`
	},
	resume: {
		name: 'Resume', done: 'resumed', states: ['parked'],
		says: 'It goes on where it was parked, and its attempts start anew.',
		sql: (gid, reason) => `SELECT dtm_resume(${gid}, ${reason});`
	},
	abort: {
		name: 'Roll back', done: 'told to roll back', danger: true, states: ['scheduled', 'running', 'waiting', 'retrying', 'parked'],
		says: 'A saga compensates what may have run; a prepared TCC or XA is canceled; a prepared message ends as failed. This cannot be undone.',
		sql: (gid, reason) => `SELECT dtm_abort(${gid}, ${reason});`
	},
	stop: {
		name: 'Force stop', done: 'stopped', danger: true, states: ['scheduled', 'running', 'waiting', 'retrying', 'parked', 'rolling back'],
		says: 'It ends as failed, as it is now: nothing more is called, and nothing is undone. What its branches did stays. This cannot be undone.',
		sql: (gid, reason) => `SELECT dtm_force_stop(${gid}, ${reason});`
	},
	resubmit: {
		name: 'Submit again', done: 'submitted again', states: ['failed', 'stopped'],
		says: 'A saga or message with the same steps, options and role is submitted under a new gid. All its steps are called, with new idempotency keys; of a message with dead letters, only those.',
		sql: (gid, reason) => `SELECT dtm_resubmit(${gid}, NULL, ${reason});`
	},
	assign: {
		name: 'Give to a role', done: 'given to the role', states: ['scheduled', 'running', 'waiting', 'retrying', 'parked', 'rolling back'],
		says: 'Only for one whose role was dropped. It goes on as the role that you name.',
		fields: (values) => [field('role', 'Role', h('input', { name: 'role', required: true, autocomplete: 'off', spellcheck: 'false', value: values.role ?? '' }))],
		sql: (gid, reason, v) => `SELECT dtm_assign(${gid}, ${quote(v.role)}, ${reason});`
	}
};

export function field(name, label, control, hint) {
	const id = 'field-' + name;

	control.id = id;
	if (hint) control.setAttribute('aria-describedby', id + '-hint');
	return h('div', { class: 'field' }, h('label', { for: id }, label), control, hint && h('span', { class: 'soft', id: id + '-hint' }, hint));
}

// ---------- the dialog ----------

let after = () => {};

export function setAfter(f) { after = f; }

const dialog = () => $('#dialog');

export const isBusy = () => dialog().open;

function open(content) {
	dialog().replaceChildren(content);
	if (!dialog().open) dialog().showModal();
}

function close() {
	dialog().close();
	dialog().replaceChildren();
}

// spec: title, says, gids or a function that finds them, body(values, reason) of a request
// (without gids, one request), check(values): why it is not sent, sql(values, reason), fields,
// danger, button
export async function askFor(spec) {
	let gids = spec.gids ?? null;
	let running = false;
	const form = h('form', { method: 'dialog' });
	const reason = h('textarea', { name: 'reason', rows: '2', required: true, maxlength: '1000' });
	const sql = h('pre', { tabindex: '0' });
	const go = h('button', { type: 'submit', class: 'main' + (spec.danger ? ' danger' : '') });
	const cancel = h('button', { type: 'button', onclick: close }, 'Cancel');
	const values = () => Object.fromEntries(new FormData(form));
	const many_gids = h('div', { class: 'gids small', tabindex: '0', role: 'group', 'aria-label': 'Transactions' });
	const count = h('p', { class: 'soft', 'aria-live': 'polite' });
	const complaint = h('p', { class: 'note red', role: 'alert' });

	const update = () => {
		go.textContent = spec.button + (gids && gids.length > 1 ? ' (' + number(gids.length) + ')' : '');
		sql.textContent = spec.sql(values(), quote(values().reason || '…'), gids);
		complaint.hidden = true;
	};

	add(form, [
		h('h2', { id: 'dialog-title' }, spec.title), h('p', {}, spec.says), count, many_gids,
		spec.fields, field('reason', 'Reason', reason, 'It is kept with the transaction, with your role and the time.'),
		h('details', {}, h('summary', {}, 'The same as SQL'), sql), complaint,
		h('div', { class: 'feet' },
			h('button', { type: 'button', class: 'quiet', onclick: (e) => copy(sql.textContent, e.target) }, 'Copy as SQL'),
			h('span', { class: 'gap' }), cancel, go)]);
	form.addEventListener('input', update);
	form.addEventListener('submit', (event) => {
		event.preventDefault();
		if (running) return;
		const why = reason.value.trim() === '' ? 'Say why: the reason is empty.' : spec.check?.(values());
		if (why) {
			complaint.textContent = why;
			complaint.hidden = false;
			return;
		}
		running = true;
		run(spec, gids, values());
	});
	dialog().oncancel = (event) => { if (dialog().dataset.busy) event.preventDefault(); };
	if (spec.find) {
		go.disabled = true;
		count.textContent = 'Counting…';
	}
	many_gids.hidden = true;
	update();
	open(form);
	($('input, select', form) ?? reason).focus();
	if (spec.find) {
		try {
			gids = await spec.find((n) => { count.textContent = 'Counting… ' + number(n); });
		} catch (error) {
			count.textContent = error.message;
			return;
		}
		go.disabled = gids.length === 0;
	}
	if (gids) {
		count.textContent = gids.length === 0 ? 'No transaction fits any more.'
			: many(gids.length, 'transaction') + (gids.length >= MOST ? ', which is as many as one act may have' : '') + ':';
		many_gids.hidden = gids.length === 0;
		add(many_gids, gids.slice(0, 100).map((gid) => h('span', { class: 'gid' }, plain(gid))));
		if (gids.length > 100) many_gids.append(h('span', { class: 'soft' }, '… and ' + number(gids.length - 100) + ' more'));
		update();
	}
}

async function run(spec, gids, values) {
	const total = gids ? gids.length : 1;
	const bar = h('progress', { max: total, value: 0, 'aria-label': 'Progress' });
	const status = h('p', { role: 'status' }, 'Working…');
	const stop = h('button', { type: 'button', onclick: () => { stopped = true; stop.disabled = true; } }, 'Stop here');
	let stopped = false;
	let done = 0;
	let tried = 0;
	let said = null;
	const refused = [];

	dialog().dataset.busy = '1';
	open(h('div', { class: 'body' }, h('h2', { id: 'dialog-title' }, spec.title), bar, status, h('div', { class: 'feet' }, total > CHUNK && stop)));
	try {
		for (let i = 0; i < total && !stopped; i += CHUNK) {
			const part = gids ? gids.slice(i, i + CHUNK) : undefined;
			const answer = await act({ ...spec.body(values), reason: values.reason.trim(), gids: part });

			done += answer.done;
			said = answer.said ?? said;
			refused.push(...answer.refused);
			tried = gids ? i + part.length : 1;
			bar.value = tried;
			status.textContent = number(tried) + ' of ' + number(total);
		}
	} catch (error) {
		refused.push({ gid: null, message: (tried < total && total > 1 ? number(total - tried) + ' not tried, or not known: ' : '') + error.message });
		if (error instanceof Refused && error.status === 401) after(error);
	}
	delete dialog().dataset.busy;
	if (done > 0) spec.finish?.();
	report(spec, { total, tried, done, refused, said, stopped, one: total === 1 });
	after();
}

// n done, m refused with reasons
function report(spec, result) {
	const ok = h('button', { type: 'button', class: 'main', onclick: close }, 'Close');
	const reasons = new Map();

	for (const r of result.refused) {
		const why = plain(r.message) + (r.hint ? '. ' + plain(r.hint) : '');
		// the same reason with another gid is the same reason
		const key = r.gid ? why.replaceAll('"' + r.gid + '"', '"…"') : why;
		if (!reasons.has(key)) reasons.set(key, []);
		reasons.get(key).push(r.gid);
	}
	const lines = [...reasons].map(([why, gids]) => h('li', {}, result.total > 1 && gids[0] !== null && h('b', {}, number(gids.length) + ': '),
		gids.length === 1 && gids[0] !== null ? why.replace('"…"', '"' + plain(gids[0]) + '"') : why));

	open(h('div', { class: 'body' },
		h('h2', { id: 'dialog-title' }, spec.title),
		h('div', { role: 'status', class: 'result' },
			result.done > 0 && h('p', { class: 'note green' }, result.one && !spec.gids && !spec.find ? 'Done.' : many(result.done, 'transaction') + ' ' + (spec.done ?? 'done') + '.',
				result.said && spec.saying ? ' ' + spec.saying(result.said) : result.said && result.one ? ' ' + plain(result.said) : ''),
			result.stopped && h('p', { class: 'note' }, number(result.total - result.tried) + ' not tried: you stopped here.'),
			result.refused.length > 0 && h('div', { class: 'note red' },
				h('b', {}, many(result.refused.filter((r) => r.gid).length || result.refused.length, 'refusal')), h('ul', {}, lines))),
		h('div', { class: 'feet' }, ok)));
	ok.focus();
}

// ---------- acts on transactions ----------

export function actOn(key, gids, find, finish) {
	const a = acts[key];

	return askFor({
		title: a.name + (gids && gids.length === 1 ? '' : ': several transactions'), says: a.says, danger: a.danger, button: a.name, done: a.done,
		gids, find, finish, fields: a.fields ? a.fields({}) : null,
		saying: key === 'resubmit' ? (said) => 'The new gid' + (gids && gids.length === 1 ? ' is ' : ' of the last one is ') + plain(said) + '.' : null,
		body: (values) => ({ act: key, role: values.role }),
		sql: (values, reason, list) => (list ?? []).slice(0, 1000).map((gid) => a.sql(quote(gid), reason, values)).join('\n')
			|| '-- ' + a.sql(quote('…'), reason, values)
	});
}

// All gids that fit a filter, a thousand at a time.
export function finder(filter) {
	return async (progress) => {
		const gids = [];
		let before = null;

		do {
			const part = await read('list', { ...filter, gids: '1', before });
			gids.push(...part.gids);
			before = part.next;
			progress(gids.length);
		} while (before !== null && gids.length < MOST);
		return gids.slice(0, MOST);
	};
}

export const mayAct = (key, state) => me.may[key] && acts[key].states.includes(state);

// ---------- acts on a branch ----------

export function editStep(gid, branch, ops) {
	const fields = ops.map((op) => field('url-' + op.op, 'URL of ' + op.op, h('input', {
		name: 'url-' + op.op, value: op.url ?? '', autocomplete: 'off', spellcheck: 'false', class: 'url' })));
	const payload = h('textarea', { name: 'payload', rows: '5', spellcheck: 'false', class: 'mono' });
	const original = ops[0].body && !ops[0].body.length && !ops[0].is_hex ? ops[0].body.text : null;

	if (original !== null) payload.value = original;
	// as the browser has it, whatever ends its lines
	const shown = payload.value;
	fields.push(field('payload', 'Payload', payload, original === null ? 'It is too long or no text; leave this empty to keep it.' : null));
	// The object as text: numbers of JavaScript would round those of a payload.
	const changes = (values) => {
		const members = [];

		for (const op of ops)
			if (values['url-' + op.op] !== (op.url ?? '')) members.push(JSON.stringify(op.op) + ': ' + JSON.stringify(values['url-' + op.op]));
		if (payload.value !== shown)
			members.push('"payload": ' + (isJson(payload.value) ? payload.value : JSON.stringify(payload.value)));
		return '{' + members.join(', ') + '}';
	};
	askFor({
		title: `Change branch ${branch}`, says: 'What has failed with the old URL or payload is retried at once; if it was parked for this branch, it goes on.',
		button: 'Change', done: 'changed', gids: [gid], fields,
		check: (values) => changes(values) === '{}' ? 'Nothing is changed. To have the branch called again as it is, use Retry now or Resume.' : null,
		body: (values) => ({ act: 'edit', branch_id: branch, changes: changes(values) }),
		sql: (values, reason) => `SELECT dtm_edit_step(${quote(gid)}, ${quote(branch)}, ${quote(changes(values))}, ${reason});`
	});
}

export function skipBranch(gid, branch, op) {
	askFor({
		title: `Answer for ${op} of branch ${branch}`, says: 'No call is made. By your word, this op counts as done, or as refused for good. Do this when you know what the service did, or did it by hand.',
		button: 'Answer', done: 'answered for', danger: true, gids: [gid],
		fields: [field('succeeded', 'It counts as', h('select', { name: 'succeeded' }, h('option', { value: 'true' }, 'succeeded'), h('option', { value: 'false' }, 'failed')))],
		body: (values) => ({ act: 'skip', branch_id: branch, op, succeeded: values.succeeded === 'true' }),
		sql: (values, reason) => `SELECT dtm_skip_branch(${quote(gid)}, ${quote(branch)}, ${quote(op)}, ${values.succeeded}, ${reason});`
	});
}

// ---------- acts on all ----------

export function pause(resume) {
	askFor({
		title: resume ? 'Resume the coordinators' : 'Pause the coordinators', button: resume ? 'Resume' : 'Pause', danger: !resume,
		says: resume ? 'The coordinators of this database call services again. After a restore or a copy, make sure first that the original has been stopped.'
			: 'No service is called any more for any transaction of this database, until somebody resumes. Calls in flight are finished first. New transactions are still accepted.',
		body: () => ({ act: resume ? 'resume coordinators' : 'pause' }),
		sql: (values, reason) => (resume ? 'SELECT dtm_resume();' : 'SELECT dtm_pause();') + '  -- ' + reason.replaceAll('\n', ' ')
	});
}

export function probe(host) {
	askFor({
		title: 'Probe ' + plain(host), button: 'Probe now', says: 'One of the transactions that wait for this host is retried now. If the host responds, its circuit breaker closes, and the others go on.',
		saying: (gid) => 'It was called for ' + plain(gid) + '.',
		body: () => ({ act: 'probe', host }),
		sql: (values, reason) => `SELECT dtm_retry_now(gid, ${reason}) FROM dtm.stuck WHERE dtm.page_host(url) = ${quote(host)} LIMIT 1;`
	});
}

export function unsubscribe(topic, url) {
	askFor({
		title: 'Unsubscribe', button: 'Unsubscribe', danger: true, says: `Messages for topic "${plain(topic)}" are not sent to ${plain(url)} any more. Those that were submitted before still are.`,
		body: () => ({ act: 'unsubscribe', topic, url }),
		sql: (values, reason) => `SELECT dtm_unsubscribe(${quote(topic)}, ${quote(url)});  -- ${reason.replaceAll('\n', ' ')}`
	});
}
