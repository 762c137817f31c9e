import { offsetOf, type RecordBatch } from '../core/record-batch.ts'
import { inBoth, inFirstOnly, OffsetSet } from './offset-set.ts'
import { OutputPartition } from './output-partition.ts'
import { SourceKind, SourceReader } from './source-reader.ts'
import { type Example, type FaultKind, type Finding, type Place, placeText, type Verdict } from './verdict.ts'

export interface OracleOptions {
  readonly inputTopic: string
  /** Of the input topic. */
  readonly partitions: number
  /** How many cases of each fault are kept; 10 unless told. */
  readonly examples?: number
  /** By input partition: the range [from, to) that is judged. All of the log unless given. */
  readonly from?: readonly number[]
  readonly to?: readonly number[]
  /** Told of the cases that are kept, when they are found. */
  readonly onFault?: (kind: FaultKind, example: Example) => void
}

/** Where the group stands, by input partition; -1 or nothing is where it has no offset. */
export interface GroupState {
  /** Offsets that had been committed before the ends of the outputs, as they were read, were looked up. */
  readonly committed: readonly number[]
  /** Offsets read after all outputs had been seen, for a group at work. As `committed` unless given. */
  readonly committedAfter?: readonly number[]
  /** Transactional ids that are open and should not be. */
  readonly openTransactions: readonly string[]
}

/**
 * An output this far beyond the last input record that was seen names no record at all: a header that says `…/2^50` must
 * not make pages for a million offsets that nobody wrote.
 */
const MAX_AHEAD = 2 ** 26

interface Ledger {
  /** Offsets of input records, and offsets that outputs name. */
  readonly inputs: OffsetSet
  readonly outputs: OffsetSet
  from: number
  readonly to: number
  /** Past the last input record seen. */
  end: number
  /** Everything below has been judged by `settle`. */
  settled: number
}

/**
 * Judges whether each input record is reflected exactly once. It is fed with input records, predictions and dead letters
 * in any interleaving, each partition in the order of its offsets, late or while the group works: an output may come
 * before its input. Two bits for each input offset are all it keeps of a record, so a hundred million take 25 MB.
 *
 * Offsets that hold no input record (control records, aborted transactions) are no loss.
 */
export class Oracle {
  readonly #options: Required<Pick<OracleOptions, 'inputTopic' | 'examples'>> & OracleOptions
  readonly #source: SourceReader
  readonly #ledgers: readonly Ledger[]
  readonly #outputs = new Map<string, OutputPartition>()
  readonly #findings: Record<FaultKind, { count: number; examples: Example[] }>
  readonly #counts = { inputs: 0, predictions: 0, deadLetters: 0, outside: 0 }

  constructor(options: OracleOptions) {
    this.#options = { examples: 10, ...options }
    this.#source = new SourceReader(options.inputTopic)
    this.#ledgers = Array.from({ length: options.partitions }, (_, partition) => {
      const from = options.from?.[partition] ?? 0
      const to = options.to?.[partition] ?? Number.MAX_SAFE_INTEGER
      return { inputs: new OffsetSet(), outputs: new OffsetSet(), from, to, end: from, settled: from }
    })
    const none = () => ({ count: 0, examples: [] })
    this.#findings = { lost: none(), doubled: none(), misordered: none(), torn: none(), foreign: none() }
  }

  /** Records of the input topic. */
  input(batch: RecordBatch): void {
    const ledger = this.#ledgers[batch.partition]
    if (ledger === undefined) throw new RangeError(`The input has ${this.#ledgers.length} partitions.`)
    for (let index = 0; index < batch.count; index++) {
      const offset = offsetOf(batch, index)
      if (offset < ledger.from || offset >= ledger.to) continue
      if (!ledger.inputs.add(offset)) continue
      this.#counts.inputs++
      ledger.end = offset + 1
    }
  }

  /** Records of the output topic. */
  prediction(batch: RecordBatch): void {
    this.#counts.predictions += this.#output(batch)
  }

  /** Records of the dead-letter topic. */
  deadLetter(batch: RecordBatch): void {
    this.#counts.deadLetters += this.#output(batch)
  }

  /** What was found so far. */
  get faults(): Readonly<Record<FaultKind, Finding>> {
    return this.#findings
  }

  /** Records so far. */
  get counts(): Readonly<Pick<Verdict, 'inputs' | 'predictions' | 'deadLetters' | 'outside'>> {
    return this.#counts
  }

  /** What the oracle keeps of the records. */
  get bytes(): number {
    return this.#ledgers.reduce((sum, { inputs, outputs }) => sum + inputs.bytes + outputs.bytes, 0)
  }

  /**
   * Judges what lies below the committed offsets: there, each input record has an output, and each output an input
   * record. May be called again and again with later offsets, each time after all inputs and outputs have been given
   * that were in the logs when the offsets were read.
   */
  settle(committed: readonly number[]): void {
    this.#ledgers.forEach((ledger, partition) => {
      const upTo = Math.min(ledger.to, committed[partition] ?? 0)
      if (upTo <= ledger.settled) return
      const { settled: from, inputs, outputs } = ledger
      this.#found('lost', partition, inFirstOnly(inputs, outputs, from, upTo, this.#options.examples))
      this.#found('foreign', partition, inFirstOnly(outputs, inputs, from, upTo, this.#options.examples), NO_INPUT)
      ledger.settled = upTo
    })
  }

  /** Input records below `offset` are gone before they could be read: from now on the range begins there. */
  skipTo(partition: number, offset: number): void {
    const ledger = this.#ledgers[partition]!
    ledger.from = Math.max(ledger.from, offset)
    ledger.settled = Math.max(ledger.settled, offset)
  }

  /** How many outputs stand for input records at or above these offsets. */
  outputsBeyond(committed: readonly number[]): number {
    const count = ({ inputs, outputs, to }: Ledger, partition: number) =>
      inBoth(outputs, inputs, committed[partition] ?? 0, to, 0).count
    return this.#ledgers.reduce((sum, ledger, partition) => sum + count(ledger, partition), 0)
  }

  /** The end of the reading. Call it once. */
  finish({ committed, committedAfter = committed, openTransactions }: GroupState): Verdict {
    this.settle(committed)
    let pending = 0
    this.#ledgers.forEach((ledger, partition) => {
      const { settled, to, inputs, outputs } = ledger
      const { examples } = this.#options
      const reached = Math.max(settled, committedAfter[partition] ?? 0)
      pending += inFirstOnly(inputs, outputs, settled, to, 0).count
      this.#found('foreign', partition, inFirstOnly(outputs, inputs, settled, to, examples), NO_INPUT)
      const torn = inBoth(outputs, inputs, reached, to, examples)
      const offset = committedAfter[partition] ?? -1
      this.#found(
        'torn',
        partition,
        torn,
        offset < 0 ? 'the group has no offset there' : `the group’s offset is ${offset}`,
      )
    })
    const faultless = Object.values(this.#findings).every(({ count }) => count === 0)
    return {
      clean: faultless && openTransactions.length === 0,
      ...this.#counts,
      pending,
      faults: this.#findings,
      openTransactions,
      outputs: [...this.#outputs.values()].map(({ digest }) => digest),
    }
  }

  /** Returns how many of the records stand for inputs within the range. */
  #output(batch: RecordBatch): number {
    const output = this.#outputPartition(batch)
    const source = this.#source
    let within = 0
    for (let index = 0; index < batch.count; index++) {
      const offset = offsetOf(batch, index)
      const kind = source.read(batch, index)
      const ledger = kind === SourceKind.ours ? this.#ledgers[source.partition] : undefined
      if (ledger === undefined) {
        output.count(offset)
        this.#add('foreign', undefined, place(batch, offset), this.#strange(kind))
        continue
      }
      output.count(offset, source.partition, source.offset)
      if (source.offset < ledger.from || source.offset >= ledger.to) {
        this.#counts.outside++
        continue
      }
      this.#judge(batch, offset, output, ledger)
      within++
    }
    return within
  }

  /** An output whose source, just read, lies within the range. */
  #judge(batch: RecordBatch, offset: number, output: OutputPartition, ledger: Ledger): void {
    const { partition, offset: inputOffset } = this.#source
    if (inputOffset >= ledger.end + MAX_AHEAD) this.#addSource('foreign', batch, offset, NO_INPUT)
    else if (!ledger.outputs.add(inputOffset)) {
      const first = this.#placeOf(partition, inputOffset)
      this.#addSource('doubled', batch, offset, first === undefined ? '' : `first at ${placeText(first)}`)
    } else {
      const lane = output.lane(partition)
      const before = lane.last
      if (lane.add(inputOffset, offset)) return
      this.#addSource('misordered', batch, offset, `it comes after the output for offset ${before}`)
    }
  }

  #outputPartition({ topic, partition }: RecordBatch): OutputPartition {
    const key = `${topic}/${partition}`
    let output = this.#outputs.get(key)
    if (output === undefined) {
      output = new OutputPartition(topic, partition)
      this.#outputs.set(key, output)
    }
    return output
  }

  #found(kind: FaultKind, partition: number, found: { count: number; first: readonly number[] }, detail = ''): void {
    for (const offset of found.first) {
      const seen = kind === 'lost' ? undefined : this.#placeOf(partition, offset)
      this.#add(kind, this.#inputPlace(partition, offset), seen, detail)
    }
    this.#findings[kind].count += found.count - found.first.length
  }

  /** A fault of the output at `offset`, whose source was just read. */
  #addSource(kind: FaultKind, batch: RecordBatch, offset: number, detail: string): void {
    this.#add(kind, this.#inputPlace(this.#source.partition, this.#source.offset), place(batch, offset), detail)
  }

  #add(kind: FaultKind, input: Place | undefined, seen: Place | undefined, detail: string): void {
    const finding = this.#findings[kind]
    finding.count++
    if (finding.examples.length >= this.#options.examples) return
    const example = { input, seen, detail }
    finding.examples.push(example)
    this.#options.onFault?.(kind, example)
  }

  /** Where the output for an input record lies, as far as lanes remember. */
  #placeOf(partition: number, inputOffset: number): Place | undefined {
    for (const output of this.#outputs.values()) {
      const offset = output.lanes.get(partition)?.find(inputOffset)
      if (offset !== undefined) return { topic: output.topic, partition: output.partition, offset }
    }
    return undefined
  }

  #inputPlace(partition: number, offset: number): Place {
    return { topic: this.#options.inputTopic, partition, offset }
  }

  #strange(kind: number): string {
    if (kind === SourceKind.missing) return 'it has no header "source"'
    const text = this.#source.text
    return `its header "source" is ${JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text)}`
  }
}

const NO_INPUT = 'there is no such input record'

function place({ topic, partition }: RecordBatch, offset: number): Place {
  return { topic, partition, offset }
}
