import { headerTexts } from '../src/audit/header-walker.ts'
import { type RecordBatch, valueBytes } from '../src/core/record-batch.ts'
import { POISON_HEADER } from '../test/support/workload.ts'

/** A header of the input, which is passed on: which row a good record holds. A bad one says what is wrong with it. */
export const ROW_HEADER = 'row'

const NAMES = [ROW_HEADER, POISON_HEADER, 'error-code', 'source'].map(name => Buffer.from(name))
const MOST_EXAMPLES = 5

/**
 * Looks at what the answers say, record by record, as they become visible. A bad record must be a dead letter with its
 * own code, a good one a prediction; and the same row must have the same bits every time: a row that was given another's
 * outputs, or a batch that was overwritten, would show.
 */
export class Answers {
  #wrong = 0
  readonly examples: string[] = []
  readonly #valueOfRow = new Map<string, Buffer>()

  /** Answers that are not what they should be. */
  get wrong(): number {
    return this.#wrong
  }

  prediction(batch: RecordBatch): void {
    for (let index = 0; index < batch.count; index++) {
      const [row, poison, , source] = headerTexts(batch, index, NAMES) as [string, string, string, string]
      const value = valueBytes(batch, index)!
      const known = this.#valueOfRow.get(row)
      if (poison !== '') this.#complain(`${source}, which is bad (${poison}), was predicted`)
      else if (known === undefined) this.#valueOfRow.set(row, Buffer.from(value))
      else if (!known.equals(value))
        this.#complain(`${source} (row ${row}) was given another value than row ${row} before`)
    }
  }

  deadLetter(batch: RecordBatch): void {
    for (let index = 0; index < batch.count; index++) {
      const [, poison, code, source] = headerTexts(batch, index, NAMES) as [string, string, string, string]
      if (poison !== code)
        this.#complain(`${source}, which is ${poison || 'good'}, is a dead letter with the code ${code}`)
    }
  }

  #complain(what: string): void {
    this.#wrong++
    if (this.examples.length < MOST_EXAMPLES) this.examples.push(`wrong answer: ${what}`)
  }
}
