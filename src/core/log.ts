type LogMethod = (fields: Record<string, unknown>, message: string) => void

/** Structured logging, in the shape of pino: fields first, then one sentence. Fields never hold a secret. */
export interface Log {
  debug: LogMethod
  info: LogMethod
  warn: LogMethod
  error: LogMethod
  child(fields: Record<string, unknown>): Log
}

const nothing: LogMethod = () => {}

/** Logs nothing. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing, child: () => silentLog }
