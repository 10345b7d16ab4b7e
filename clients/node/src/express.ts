// Branches in Express.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { RequestHandler } from "express";
import type { Pool } from "pg";
import { Call, checkOptions, Reply } from "./call.js";
import { type BranchOptions, type Business, run } from "./run.js";

const rawBodies = new WeakMap<IncomingMessage, Buffer>();

/** Keeps the bytes of bodies that Express parses: `app.use(express.json({ verify: keepBody }))`. */
export function keepBody(request: IncomingMessage, _response: ServerResponse, body: Buffer): void {
  rawBodies.set(request, body);
}

/**
 * A handler for one branch. The business runs in a transaction of the pool, unless
 * the barrier says that it must not run; what it returns is the response. Errors
 * other than replies go to Express's error handler, whose status 500 dtm retries.
 */
export function branch(pool: Pool, business: Business, options: BranchOptions = {}): RequestHandler {
  checkOptions(options); // here: the service does not start with wrong ones
  return async (request, response, next) => {
    try {
      const call = Call.read(request.query, request.headers, await bodyOf(request), options);
      response.type("json").send(await run(pool, call, business, options.skipped));
    } catch (error) {
      if (error instanceof Reply) response.status(error.status).json(error.body);
      else next(error);
    }
  };
}

const MAX_BODY = 16 * 1024 * 1024;

async function bodyOf(request: IncomingMessage & { body?: unknown }): Promise<Buffer> {
  const kept = rawBodies.get(request) ?? request.body;
  if (Buffer.isBuffer(kept)) return kept;
  if (request.readableEnded)
    throw new Error("the body has been parsed, and its bytes are gone: use express.json({ verify: keepBody })");
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error(`the body has more than ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
