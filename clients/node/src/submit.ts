// Submits global transactions in the database transaction of the caller.

import type { ClientBase } from "pg";

export type TransType = "saga" | "msg" | "tcc" | "xa" | "workflow";

/** A step: URLs of its action and compensation, the body for both, and options (see "Options of steps"). */
export interface Step {
  action: string;
  compensate?: string;
  payload?: unknown;
  payload_base64?: string;
  name?: string;
  method?: string;
  compensate_method?: string;
  headers?: Record<string, string>;
  content_type?: string;
  query_parameters?: boolean;
  replies?: "dtm" | "status";
  success?: string;
  final?: string;
  ongoing?: string;
  compensate_ok?: string;
  retry_after?: boolean;
  request_timeout?: number;
  complete_within?: number;
  poll?: boolean;
  retry_interval?: number;
  max_attempts?: number;
  compensate_max_attempts?: number;
  on_exhausted?: "abort" | "park" | "discard";
}

/** Options of the global transaction; the SQL reference explains them. Times are in seconds. */
export interface Options {
  timeout_to_fail?: number;
  retry_interval?: number;
  request_timeout?: number;
  retry_limit?: number;
  branch_headers?: Record<string, string>;
  concurrent?: boolean;
  orders?: Record<string, number[]>;
  delay?: number;
  query_prepared?: string;
  protocol?: "http" | "json-rpc" | "grpc";
  notify?: boolean;
  traceparent?: string;
  on_finish?: string;
  lane?: string;
  lane_on_park?: "wait" | "skip";
  fairness_key?: string;
  results?: boolean;
  name?: string;
  data?: unknown;
  status?: "succeed" | "failed";
  result?: unknown;
  rollback_reason?: string;
}

/**
 * Submits in the current transaction of the client, and returns the gid.
 *
 * The global transaction starts when the caller commits. If the caller rolls
 * back, nothing is stored and nothing is called. Without a gid, dtm makes one.
 */
export async function submit(
  client: ClientBase,
  transType: TransType,
  steps: readonly Step[],
  gid: string | null = null,
  options: Options = {},
): Promise<string> {
  const result = await client.query<[string]>({
    // json, not jsonb: payloads are sent to the letter
    text: "SELECT dtm_submit($1, $2::json, $3, $4::jsonb)",
    values: [transType, JSON.stringify(steps), gid, JSON.stringify(options)],
    rowMode: "array",
  });
  return result.rows[0]![0];
}
