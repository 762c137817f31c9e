// The thread of the reader.

import { OutputReader, type Patience, type ReaderOptions, type Reading } from './reader.ts'
import { serve } from './thread.ts'

let reader: OutputReader | undefined

const methods = {
  /** Resolves when it reads. */
  open: async (options: ReaderOptions): Promise<void> => {
    reader = await OutputReader.open(options)
  },
  /** Resolves to the number of records that were seen when it had seen enough, or lost patience. */
  untilSeen: (patience: Patience): Promise<number> => reader!.untilSeen(patience),
  finish: (): Promise<Reading> => reader!.finish(),
}

export type ReaderMethods = typeof methods

serve(methods)
