import { hostname } from 'node:os'
import { isatty } from 'node:tty'
import { pino } from 'pino'
import { PinoPretty } from 'pino-pretty'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'

interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** `auto` is pretty on a terminal, otherwise JSON. */
  readonly format: 'auto' | 'json' | 'pretty'
  /** Says whose lines these are. */
  readonly name: string
  /** Where lines go; standard output unless given. Written synchronously, so that the last line before an exit is there. */
  readonly destination?: NodeJS.WritableStream & { readonly isTTY?: boolean }
}

/** pino's number for `error`. */
const ERROR_LEVEL = 50

/**
 * One JSON object a line: `level` as a word, `time` in ISO 8601, `name`, fields, `msg`. A thrown value is logged as
 * `{ error }`; if it is a SluiceError its `code` and `remedy` become fields of the line.
 */
export function createLog(options: LogOptions): Log {
  const { level, format, name, destination } = options
  // Not process.stdout, which is a stream to the main thread on any other.
  const terminal = destination === undefined ? isatty(1) : Boolean(destination.isTTY)
  const pretty = format === 'pretty' || (format === 'auto' && terminal)
  const json = destination ?? pino.destination({ dest: 1, sync: true })
  return pino(
    {
      level,
      base: { name, pid: process.pid, hostname: hostname() },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      hooks: {
        logMethod([fields, ...rest], method, level) {
          Reflect.apply(method, this, [withError(fields, level), ...rest])
        },
      },
    },
    pretty ? prettyStream(destination, terminal) : json,
  )
}

function prettyStream(destination: NodeJS.WritableStream | undefined, colorize: boolean): NodeJS.WritableStream {
  return PinoPretty({
    destination: destination ?? 1,
    sync: true,
    colorize,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,name',
  })
}

/** Our own errors say all in their message: a stack would only hide it, below the level where someone has to dig. */
function withError(fields: unknown, level: number): unknown {
  if (typeof fields !== 'object' || fields === null || !('error' in fields)) return fields
  const { error } = fields
  if (!(error instanceof Error)) return { ...fields, error: { type: typeof error, message: messageOf(error) } }
  const ours = error instanceof SluiceError
  return {
    ...fields,
    ...(ours && { code: error.code, remedy: error.remedy }),
    error: {
      type: error.name,
      message: error.message,
      ...(error.cause !== undefined && { cause: messageOf(error.cause) }),
      ...((!ours || level >= ERROR_LEVEL) && { stack: error.stack }),
    },
  }
}
