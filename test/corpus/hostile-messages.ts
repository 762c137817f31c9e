import { BASKET, Collection, frame, OBJECT, PURCHASE, REST, utf8 } from './collection.ts'
import { MAX_RECORD_BYTES, type StoredMessage } from './corpus.ts'
import { framing, truncation } from './hostile-framing.ts'
import { json, jsonWords } from './hostile-json.ts'
import { integers, lengths, nesting } from './hostile-lengths.ts'
import { choices, numbers, words } from './hostile-values.ts'
import { bytes, type Content, parts, repeat, varint } from './parts.ts'

/** All hostile messages, in the order of the file. `random` gives a number below its argument. */
export function hostileMessages(random: (below: number) => number): StoredMessage[] {
  const all = new Collection()
  framing(all, random)
  truncation(all)
  integers(all)
  lengths(all)
  nesting(all)
  choices(all)
  numbers(all)
  words(all)
  json(all)
  jsonWords(all)
  aroundTheValue(all)
  return all.messages
}

/** Good values in bad company, and values at the limit of size. */
function aroundTheValue(all: Collection): void {
  const good = frame(1, ...PURCHASE)
  const header = (name: string | Uint8Array, value: Content | null) =>
    [parts([typeof name === 'string' ? Buffer.from(name) : name]), value === null ? null : parts(value)] as const
  const withHeaders = (name: string, why: string, ...headers: NonNullable<StoredMessage['headers']>) =>
    all.add('avro', 'prediction', name, why, good, { headers })
  withHeaders('huge header', 'a header larger than most values', header('big', [repeat([0x62], 50_000)]))
  withHeaders(
    'two hundred headers',
    'more than anybody needs',
    ...Array.from({ length: 200 }, (_, i) => header(`h${i}`, utf8('v'))),
  )
  withHeaders(
    'the same header 50 times',
    'repeats are allowed',
    ...Array.from({ length: 50 }, () => header('again', utf8('v'))),
  )
  for (const name of ['source', 'model-name', 'model-version', 'execution-provider', 'error-code', 'failed-at']) {
    withHeaders(
      `header ${name}`,
      'the name of a header of Sluice itself',
      header(name, utf8('forged')),
      header(name, utf8('twice')),
    )
  }
  withHeaders('nameless header', 'a name of no bytes', header('', utf8('v')))
  withHeaders('null and empty headers', 'both are allowed', header('null', null), header('empty', []))
  withHeaders('header that is not UTF-8', 'bytes, not text', header(new Uint8Array([0xff, 0xfe]), [bytes(0xff, 0x00)]))
  for (const [name, key] of [
    ['null', null],
    ['empty', []],
    ['huge', [repeat([0x6b], 50_000)]],
    ['binary', [bytes(0xff, 0, 0x80)]],
  ] as const) {
    all.add('avro', 'prediction', `${name} key`, 'keys are passed through', good, {
      key: key === null ? null : parts(key),
    })
  }
  // A JSON value can be given any size by white space behind it.
  const padded = (size: number): Content => [...utf8(OBJECT), repeat([0x20], size - OBJECT.length)]
  all.add('json', 'prediction', 'as large as allowed', 'exactly MAX_RECORD_BYTES', padded(MAX_RECORD_BYTES))
  all.add('json', 'record-too-large', 'a byte too large', 'MAX_RECORD_BYTES + 1', padded(MAX_RECORD_BYTES + 1))
  all.add('json', 'record-too-large', 'ten times too large', '10 × MAX_RECORD_BYTES', padded(10 * MAX_RECORD_BYTES))
  all.add(
    'avro',
    'record-too-large',
    'Avro, too large',
    'looked at before anything else',
    frame(1, repeat([0], MAX_RECORD_BYTES)),
  )
  all.add(
    'avro',
    'prediction',
    'varint of two bytes',
    'the smallest that is long',
    frame(1, varint(128n), ...REST, ...BASKET),
  )
}
