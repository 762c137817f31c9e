/** A session thread that opens the model as the test has it: see `Openings`. */
import { getEnvironmentData } from 'node:worker_threads'
import { InferenceSession } from 'onnxruntime-node'
import { OPENINGS, Word } from './openings.ts'

const words = getEnvironmentData(OPENINGS) as Int32Array
const create = InferenceSession.create.bind(InferenceSession) as (...args: unknown[]) => Promise<InferenceSession>

/** Whether this opening is one of those that are to end so. */
const takes = (word: number) => Atomics.load(words, word) > 0 && Atomics.sub(words, word, 1) > 0

Object.assign(InferenceSession, {
  create: async (...args: unknown[]) => {
    if (takes(Word.toHang)) {
      Atomics.add(words, Word.hanging, 1)
      Atomics.wait(words, Word.released, 0)
    } else if (takes(Word.toRefuse)) throw new Error('CUDA error 46: all devices are busy')
    return create(...args)
  },
})

await import('../../src/inference/session-thread.ts')
