// Runs the business of a call: transaction, barrier, business, commit.

import type { Pool, PoolClient } from "pg";
import { type Call, Ongoing, Refused, type SignatureOptions } from "./call.js";

/** Makes the changes of a branch on the client, in its transaction. What it returns is the body of the response. */
export type Business = (client: PoolClient, call: Call) => unknown;

export interface BranchOptions extends SignatureOptions {
  /** Runs in the transaction when the barrier says that the business must not run. */
  skipped?: Business;
}

const SUCCESS = { dtm_result: "SUCCESS" };

/** Returns the body of the response, which is JSON. An error rolls back, and is thrown. */
export async function run(pool: Pool, call: Call, business: Business, skipped?: Business): Promise<string> {
  if (call.isQueryBack) {
    if (!(await ask(pool, "SELECT dtm_query_prepared($1)", [call.gid]))) throw new Refused("the local transaction has not committed");
    return JSON.stringify(SUCCESS);
  }
  const client = await pool.connect();
  let broken: Error | undefined;
  // without a listener, a connection that is lost would end the process
  const lost = (error: Error) => (broken = error);
  client.on("error", lost);
  try {
    await client.query("BEGIN");
    const passed = await ask(client, "SELECT dtm_barrier($1, $2, $3, $4)", [call.transType, call.gid, call.branchId, call.op]);
    const result = await (passed ? business : skipped)?.(client, call);
    const body = JSON.stringify(result ?? SUCCESS); // before the commit: an error of it must roll back
    const { command } = await client.query("COMMIT");
    // PostgreSQL turns the COMMIT of a failed transaction into a ROLLBACK, without an error
    if (command !== "COMMIT")
      throw new Error(
        "the business caught an error of the database and went on: its changes are rolled back; " +
          "run such a statement in a savepoint",
      );
    return body;
  } catch (error) {
    await client.query("ROLLBACK").catch(lost);
    throw replyTo(error);
  } finally {
    client.off("error", lost);
    client.release(broken);
  }
}

async function ask(client: Pool | PoolClient, text: string, values: string[]): Promise<boolean> {
  const { rows } = await client.query<[boolean]>({ text, values, rowMode: "array" });
  return rows[0]?.[0] === true;
}

/** A function in the database says no, or not yet, by dtm's SQLSTATEs. */
function replyTo(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  if (error.code === "DT409") return new Refused(error.message, { cause: error });
  if (error.code === "DT425") return new Ongoing(error.message, { cause: error });
  return error;
}
