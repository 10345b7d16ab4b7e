/*
 * request_columns.h
 *		The list of the columns of dtm.request, in the order of the table.
 *
 * Include it with REQUEST_COLUMN() defined, once for each use (there is no
 * include guard).  A new option of a global transaction is a line here, a
 * field of Transaction, a line in request/options.c, and a rule in core.
 *
 * For each: its name; its type (InvalidOid is dtm.submitter); the kind of value, which row.c has read_KIND()
 * and write_KIND() for; the field of Transaction; and when it is written
 * besides the INSERT (ColumnWrites).
 */
REQUEST_COLUMN(id, INT8OID, id, id, COLUMN_NEVER)
REQUEST_COLUMN(created, TIMESTAMPTZOID, time, core.created, COLUMN_ONCE)
REQUEST_COLUMN(timeout_to_fail, INT8OID, positive_int64, core.timeout_to_fail, COLUMN_OPTION)
REQUEST_COLUMN(retry_interval, INT8OID, positive_int64, core.retry_interval, COLUMN_OPTION)
REQUEST_COLUMN(delay, INT8OID, positive_int64, core.delay, COLUMN_OPTION)
REQUEST_COLUMN(submitted_by, InvalidOid, submitter, submitted_by, COLUMN_ONCE)
REQUEST_COLUMN(request_timeout, INT4OID, positive_int32, request_timeout, COLUMN_OPTION)
REQUEST_COLUMN(retry_limit, INT4OID, positive_int32, core.retry_limit, COLUMN_OPTION)
REQUEST_COLUMN(trans_type, CHAROID, trans_type, core.type, COLUMN_ONCE)
REQUEST_COLUMN(concurrent, BOOLOID, flag, core.concurrent, COLUMN_OPTION)
REQUEST_COLUMN(wait_result, BOOLOID, flag, wait_result, COLUMN_OPTION)
REQUEST_COLUMN(gid, TEXTOID, string, gid, COLUMN_ONCE)
REQUEST_COLUMN(protocol, TEXTOID, string, protocol, COLUMN_ONCE)
REQUEST_COLUMN(query_prepared, TEXTOID, query_url, query_prepared, COLUMN_OPTION)
REQUEST_COLUMN(action, TEXTARRAYOID, actions, action, COLUMN_BRANCH)
REQUEST_COLUMN(compensate, TEXTARRAYOID, compensations, compensate, COLUMN_BRANCH)
REQUEST_COLUMN(payload, BYTEAARRAYOID, payloads, payload, COLUMN_BRANCH)
REQUEST_COLUMN(orders, INT4ARRAYOID, orders, core.orders, COLUMN_OPTION)
REQUEST_COLUMN(branch_headers, TEXTARRAYOID, headers, nheaders, COLUMN_OPTION)
REQUEST_COLUMN(branch_id, TEXTARRAYOID, branch_ids, branch_id, COLUMN_BRANCH)
REQUEST_COLUMN(topic, TEXTARRAYOID, topics, topic, COLUMN_ONCE)
REQUEST_COLUMN(workflow, TEXTOID, workflow, workflow, COLUMN_ONCE)
REQUEST_COLUMN(workflow_data, BYTEAOID, bytes, workflow_data, COLUMN_ONCE)
REQUEST_COLUMN(result, TEXTOID, string, result, COLUMN_RESULT)
REQUEST_COLUMN(notify, BOOLOID, rare_flag, notify, COLUMN_OPTION)
REQUEST_COLUMN(on_finish, TEXTOID, string, on_finish, COLUMN_OPTION)
REQUEST_COLUMN(step_options, JSONBOID, step_options, step, COLUMN_BRANCH)
REQUEST_COLUMN(results, BOOLOID, rare_flag, results, COLUMN_OPTION)
REQUEST_COLUMN(lane, TEXTOID, string, lane, COLUMN_ONCE)
REQUEST_COLUMN(lane_skips, BOOLOID, rare_flag, lane_skips, COLUMN_ONCE)
REQUEST_COLUMN(fairness_key, TEXTOID, string, fairness_key, COLUMN_OPTION)
REQUEST_COLUMN(parent, TEXTOID, string, parent, COLUMN_ONCE)
