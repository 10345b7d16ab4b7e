// Branches in Fastify.

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Pool } from "pg";
import { Call, checkOptions, Reply } from "./call.js";
import { type BranchOptions, type Business, run } from "./run.js";

/** Has a scope of Fastify hand over bodies as their bytes, of which signatures are made. */
export function rawBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
}

/**
 * A handler for one branch, in a scope with rawBodies. The business runs in a
 * transaction of the pool, unless the barrier says that it must not run; what it
 * returns is the response. Errors other than replies go to Fastify's error handler,
 * whose status 500 dtm retries.
 */
export function branch(pool: Pool, business: Business, options: BranchOptions = {}) {
  checkOptions(options); // here: the service does not start with wrong ones
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    reply.type("application/json");
    try {
      const body = request.body ?? Buffer.alloc(0);
      if (!Buffer.isBuffer(body)) throw new Error("the body has been parsed: call rawBodies(scope) in the scope of the route");
      const call = Call.read(request.query as Record<string, unknown>, request.headers, body, options);
      return reply.send(await run(pool, call, business, options.skipped));
    } catch (error) {
      if (error instanceof Reply) return reply.code(error.status).send(JSON.stringify(error.body));
      throw error;
    }
  };
}
