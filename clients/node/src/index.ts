// Participants of dtm, distributed transactions run by PostgreSQL.
//
// A participant is a service whose handlers are the branches of global
// transactions.  `branch` of dtm-pg/express or dtm-pg/fastify makes a handler one;
// `submit` starts a global transaction in the database transaction of the caller.

export { BadRequest, Call, Ongoing, Refused, Reply, Unauthorized, sign } from "./call.js";
export { run } from "./run.js";
export type { Business, BranchOptions } from "./run.js";
export { submit } from "./submit.js";
export type { Options, Step, TransType } from "./submit.js";
