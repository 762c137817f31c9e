/** Bytes that are repeated. */
interface Repeated {
  readonly bytes: readonly number[]
  readonly times: number
}

/** What a value is made of. */
export type Content = readonly (Uint8Array | Repeated)[]

export const bytes = (...values: number[]) => Uint8Array.from(values.map(value => value & 0xff))

export const repeat = (values: readonly number[], times: number): Repeated => ({ bytes: values, times })

/** An unsigned varint: seven bits a byte, lowest first. */
export function varint(value: bigint): Uint8Array {
  const out: number[] = []
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    const more = rest > 0x7fn
    out.push(Number(rest & 0x7fn) | (more ? 0x80 : 0))
    if (!more) return Uint8Array.from(out)
  }
}

/** An Avro long: zigzag, then a varint. */
export const long = (value: bigint) => varint((value << 1n) ^ (value >> 63n))

export function double(value: number): Uint8Array {
  const out = Buffer.alloc(8)
  out.writeDoubleLE(value)
  return out
}

/** An Avro string. */
export function text(value: string): Uint8Array {
  return Buffer.concat([long(BigInt(Buffer.byteLength(value))), Buffer.from(value)])
}

type Stored = string | [base64: string, times: number]

/** As the corpus keeps it: neighbouring bytes in one piece of base64. */
export function parts(content: Content): Stored[] {
  const stored: Stored[] = []
  let pending: Uint8Array[] = []
  const flush = () => {
    const joined = Buffer.concat(pending)
    pending = []
    if (joined.length > 0) stored.push(joined.toString('base64'))
  }
  for (const part of content) {
    if (part instanceof Uint8Array) pending.push(part)
    else {
      flush()
      stored.push([Buffer.from(part.bytes).toString('base64'), part.times])
    }
  }
  flush()
  return stored
}
