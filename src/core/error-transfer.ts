import { type ErrorCode, messageOf, SluiceError } from './errors.ts'
import { RunError, type RunFailure } from './inference.ts'

/** An error as plain data, for a message to another thread: a clone of the error itself would lose its class and its code. */
export interface PackedError {
  /** Undefined for a defect, which is no error for people. */
  readonly code: ErrorCode | undefined
  readonly message: string
  /** Of a `RunError`. */
  readonly session?: number
  /** The message of what caused it. */
  readonly cause?: string
  /** Of a defect: where it is. */
  readonly stack?: string | undefined
}

export function packError(error: unknown): PackedError {
  const message = messageOf(error)
  if (!(error instanceof SluiceError)) {
    return { code: undefined, message, stack: error instanceof Error ? error.stack : undefined }
  }
  return {
    code: error.code,
    message,
    ...(error instanceof RunError && { session: error.session }),
    ...(error.cause !== undefined && { cause: messageOf(error.cause) }),
  }
}

/** The error that was packed: of the same class, with the same code, message and session. */
export function unpackError({ code, message, session, cause, stack }: PackedError): Error {
  const options = cause === undefined ? undefined : { cause }
  if (code !== undefined) {
    return session === undefined
      ? new SluiceError(code, message, options)
      : new RunError(code as RunFailure, message, session, options)
  }
  const defect = new Error(message)
  if (stack !== undefined) defect.stack = stack
  return defect
}
