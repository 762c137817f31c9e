// The thread of the generator.

import { Generator, type GeneratorOptions, type Lateness, type Start } from './generator.ts'
import { serve } from './thread.ts'

let generator: Generator | undefined

const methods = {
  /** Resolves to the offset that the first record of each partition will have. */
  open: (options: GeneratorOptions): Promise<number[]> => {
    generator = new Generator(options)
    return generator.open()
  },
  knock: (): Promise<void> => generator!.knock(),
  run: (start: Start): Promise<Lateness> => generator!.run(start),
  close: async (): Promise<void> => generator?.close(),
}

export type GeneratorMethods = typeof methods

serve(methods)
