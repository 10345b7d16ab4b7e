// A call of the coordinator: its parameters, its signature, and what to reply.
// Knows neither a web framework nor a database.

import { createHmac, timingSafeEqual } from "node:crypto";

/** Ends the business with a response that is not success; its changes are rolled back. */
export class Reply extends Error {
  /** The status of the response. */
  readonly status: number = 500;
  protected readonly result?: "FAILURE" | "ONGOING";

  /** The body of the response. */
  get body(): Record<string, string> {
    // dtm looks for both words in the whole body, so the message must not have the other one
    const message = this.message.replace(/FAILURE|ONGOING/g, (word) => word.toLowerCase());
    return this.result ? { dtm_result: this.result, message } : { message };
  }
}

/** A permanent failure: dtm rolls the global transaction back. */
export class Refused extends Reply {
  override readonly status = 409;
  protected override readonly result = "FAILURE";
}

/** Not finished yet: dtm calls again, at a constant interval. */
export class Ongoing extends Reply {
  override readonly status = 425;
  protected override readonly result = "ONGOING";
}

/** The request does not have the parameters of a branch, or its body lacks a key. */
export class BadRequest extends Reply {
  override readonly status = 400;
}

/** The signature is missing or wrong. dtm calls again, with a new signature. */
export class Unauthorized extends Reply {
  override readonly status = 401;
}

export interface SignatureOptions {
  /**
   * The key of the server's user mapping (hmac_key), or several while keys change. Without this option, nothing is
   * checked. An option without a key is an error.
   */
  key?: string | readonly string[];
  /** Seconds for which a signature is good. Default: 300. */
  maxAge?: number;
}

/** Throws if options do not mean what they seem to mean. */
export function checkOptions(options: SignatureOptions): void {
  const { key, maxAge = 300 } = options;
  const keys: unknown = typeof key === "string" ? [key] : key;
  const isKey = (value: unknown) => typeof value === "string" && value !== ""; // anyone can sign with an empty one
  // a variable that is missing in process.env must not turn the check off
  if ("key" in options && !(Array.isArray(keys) && keys.length > 0 && keys.every(isKey)))
    throw new TypeError(
      'option "key" has no key: set it to the hmac_key of the user mapping, ' +
        "or leave it out to accept calls without a signature",
    );
  if (!(maxAge >= 0)) throw new TypeError('option "maxAge" is not a number of seconds');
}

type Values = Record<string, unknown>;

/** One operation of one branch of a global transaction. */
export class Call {
  constructor(
    readonly transType: string,
    readonly gid: string,
    readonly branchId: string,
    readonly op: string,
    readonly body: Buffer = Buffer.alloc(0),
  ) {}

  /** The payload of the step. Without one of the required keys, BadRequest names it. */
  json<T = any>(...required: string[]): T {
    let value: any;
    try {
      value = JSON.parse(this.body.toString("utf8"));
    } catch {
      throw new BadRequest("the body is not JSON");
    }
    const keys = new Map(Object.entries(value ?? {})); // not what it inherits, nor the length of a string
    for (const key of required)
      if ((keys.get(key) ?? null) === null) throw new BadRequest(`key "${key}" is missing in the body`);
    return value as T;
  }

  /** Whether dtm asks if the local transaction of a prepared message has committed. */
  get isQueryBack(): boolean {
    return this.op === "msg"; // transType is not signed
  }

  /** The call that a request is. With a key, only if it is signed. Names of headers are in lower case. */
  static read(query: Values, headers: Values, body: Buffer, options: SignatureOptions = {}): Call {
    checkOptions(options);
    const parameter = (name: string) => parameterOf(query, headers, name);
    const call = new Call(parameter("trans_type"), parameter("gid"), parameter("branch_id"), parameter("op"), body);
    const signature = headers["dtm-signature"];
    if (options.key !== undefined && !call.isSigned(typeof signature === "string" ? signature : "", options.key, options.maxAge))
      throw new Unauthorized("the signature is missing or wrong");
    return call;
  }

  /** Whether this Dtm-Signature was made for this call with the key, at most maxAge seconds ago. */
  isSigned(signature: string, key: string | readonly string[], maxAge = 300): boolean {
    const match = /^t=(\d{1,12}),v1=[0-9a-f]{64}$/.exec(signature);
    if (!match || Math.abs(Date.now() / 1000 - Number(match[1])) > maxAge) return false;
    const keys = typeof key === "string" ? [key] : key;
    return keys.some((each) => equal(signature, sign(this, each, match[1]!)));
  }
}

/** The Dtm-Signature of a call at a time in seconds since 1970. */
export function sign(call: Call, key: string, at: number | string): string {
  const fields = [call.gid, call.branchId, call.op];
  // a line feed would shift the boundary between the fields
  if (fields.some((field) => field.includes("\n"))) throw new BadRequest("a parameter contains a line feed");
  const text = [at, ...fields, ""].join("\n");
  return `t=${at},v1=${createHmac("sha256", key).update(text).update(call.body).digest("hex")}`;
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function parameterOf(query: Values, headers: Values, name: string): string {
  // dtm sends headers if the option query_parameters is off; headers are percent-encoded
  const value = query[name] ?? decoded(headers["dtm-" + name.replace("_", "-")]);
  if (typeof value !== "string" || value === "")
    throw new BadRequest(`parameter "${name}" is missing: the request is not a call of dtm`);
  return value;
}

function decoded(value: unknown): unknown {
  if (typeof value !== "string") return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
