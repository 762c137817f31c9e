/**
 * Writes the corpus beside this file; with `--check`, says whether the files are what this script makes:
 * `node test/corpus/make.ts [--check]`. The same bytes on every machine: what is random has a fixed seed.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { hostileBatches } from './hostile-batches.ts'
import { hostileMessages } from './hostile-messages.ts'

const SEED = 20_240_229

/** Marsaglia's xorshift32. */
function generator(seed: number): (below: number) => number {
  let state = seed | 1
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const lines = (entries: readonly object[]) => entries.map(entry => `${JSON.stringify(entry)}\n`).join('')

const FILES = {
  'messages.jsonl': lines(hostileMessages(generator(SEED))),
  'batches.jsonl': lines(hostileBatches()),
}

for (const [name, content] of Object.entries(FILES)) {
  const file = new URL(name, import.meta.url)
  if (!process.argv.includes('--check')) writeFileSync(file, content)
  else if (readFileSync(file, 'utf8') !== content) {
    console.error(
      `test/corpus/${name} is not what test/corpus/make.ts makes: run it without --check, and look at the changes.`,
    )
    process.exitCode = 1
  }
}
