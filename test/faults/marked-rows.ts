/**
 * Loaded before a worker, and so before each of its session threads: rows whose first number is one of `MARK` do what no
 * model of the fixtures can. Only what ONNX Runtime is asked is replaced; the thread around it is the worker's own.
 */
import { openSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import { InferenceSession, type Tensor } from 'onnxruntime-node'

/** Exact in a float32, and nothing that a test would send by chance. */
export const MARK = {
  /** Refused, like an index out of range. */
  refused: 1_000_400,
  /** Ends its thread, like a library that calls exit. */
  kills: 1_000_013,
  /**
   * Blocks its thread: in native code if MARKED_ROWS_FIFO names a pipe that nobody writes to, and else until the number
   * changes and is notified of.
   */
  hangs: 1_000_666,
  /** Takes the place of the second number of a row once its thread is about to block. */
  hanging: 1_000_667,
  /** From here on the thread refuses every row, like a CUDA context after an illegal access. */
  sickens: 1_000_700,
} as const

export const KILLED_EXIT_CODE = 7

if (!isMainThread) haunt()

function haunt(): void {
  const create = InferenceSession.create.bind(InferenceSession) as (...args: unknown[]) => Promise<InferenceSession>
  let sick = false
  const check = (first: number, data: Float32Array, at: number) => {
    if (first === MARK.sickens) sick = true
    if (sick) throw new Error('CUDA error 700: an illegal memory access was encountered')
    if (first === MARK.refused) throw new Error(`the operator refuses ${first}`)
    if (first === MARK.kills) process.exit(KILLED_EXIT_CODE)
    if (first === MARK.hangs) block(data, at)
  }
  const wrapped = async (...args: unknown[]) => {
    const session = await create(...args)
    const run = session.run.bind(session) as (feeds: Record<string, Tensor>, fetches: string[]) => Promise<never>
    const haunted = async (feeds: Record<string, Tensor>, fetches: string[]) => {
      const { data, dims } = Object.values(feeds)[0]!
      const rows = data as Float32Array
      const width = rows.length / dims[0]!
      for (let at = 0; at < rows.length; at += width) check(rows[at]!, rows, at)
      return run(feeds, fetches)
    }
    return Object.assign(session, { run: haunted })
  }
  Object.assign(InferenceSession, { create: wrapped })
}

function block(data: Float32Array, at: number): void {
  const pipe = process.env.MARKED_ROWS_FIFO
  if (pipe !== undefined) openSync(pipe, 'r')
  const shared = data.buffer instanceof SharedArrayBuffer
  const word = shared
    ? new Int32Array(data.buffer, data.byteOffset + 4 * at, 1)
    : new Int32Array(new SharedArrayBuffer(4))
  const mark = word[0]!
  data[at + 1] = MARK.hanging
  Atomics.wait(word, 0, mark)
}
