// A thread for tests of calls.

import { serve } from '../../bench/latency/thread.ts'

const methods = {
  double: (numbers: Float64Array) => numbers.map(number => number * 2),
  fill: (shared: Float64Array) => void shared.fill(7),
  after: async ({ ms, answer }: { ms: number; answer: string }) => {
    await new Promise(resolve => setTimeout(resolve, ms))
    return answer
  },
  fail: () => {
    throw new RangeError('as told')
  },
  crash: () => {
    setImmediate(() => {
      throw new Error('out of the blue')
    })
    return new Promise<never>(() => {})
  },
  hang: () => new Promise<never>(() => {}),
  burn: (seconds: number) => {
    const used = () => process.threadCpuUsage().user / 1e6
    const enough = used() + seconds
    while (used() < enough);
  },
}

export type DoubleMethods = typeof methods

serve(methods)
