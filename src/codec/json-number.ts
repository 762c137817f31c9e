/** Digits are read by fours: so many bytes must follow a number, or it is not read. */
export const WORD_BYTES = 4

const ZERO = 0x30
const FOUR_ZEROS = 0x30303030
const MINUS = 0x2d
const PLUS = 0x2b
const POINT = 0x2e
const COMMA = 0x2c
const SPACE = 0x20
const LOWER_E = 0x65
const TO_LOWER_CASE = 0x20

/** Powers of ten up to this one are exact as doubles. */
const LAST_EXACT_POWER = 22
const LAST_POWER = 60
const POWERS = Float64Array.from({ length: LAST_POWER + 1 }, (_, exponent) => Number(`1e${exponent}`))
/** Stands for all larger exponents: more than a record has digits, so no digits can make up for it. */
const LARGEST_EXPONENT = 1e15

/** Up to here, adding up digits as a double rounds 62 times at most, twice a digit: with the rest, within the margin. */
const MOST_DIGITS = 1e30
const MARGIN = 1e-14

/**
 * Reads JSON numbers (RFC 8259, section 6) from the bytes of a batch into tensors: the same bits as storing what
 * `JSON.parse` makes of them, or none.
 *
 * The digits become one integer, which is multiplied with a power of ten or divided by it. Where both are exact as
 * doubles, the result is the nearest double (Clinger, "How to read floating point numbers accurately", 1990): up to
 * 15 digits, and what float32 needs is 9. With more digits the result is a little off; where a float32 is wanted, that
 * rarely matters, and it is known when.
 */
export class JsonNumbers {
  readonly #bytes: Buffer
  readonly #view: DataView
  /** The one that was read last. */
  #exponent = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /**
   * Reads `count` numbers with commas between them, white space allowed, into `target` from element `first` on. Returns
   * the position after the last number; -1 where there are no such numbers, where one is infinite in the type of
   * `target`, or where it cannot tell the bits of one. What follows is for the caller to check, also that it does not lie
   * beyond the end: in `01` the number ends after the zero.
   *
   * One loop without calls, because calls would take as long as the numbers.
   */
  read(from: number, target: Float32Array | Float64Array, first: number, count: number): number {
    const bytes = this.#bytes
    const view = this.#view
    const lastWord = bytes.length - WORD_BYTES
    const end = first + count
    let at = from
    for (let index = first; ; at++) {
      if (bytes[at]! <= SPACE) at = skipSpace(bytes, at)
      const negative = bytes[at] === MINUS
      if (negative) at++
      // XOR tells digits, and nothing else, from all other bytes in one comparison. Beyond the buffer it gives 48.
      let digit = bytes[at++]! ^ ZERO
      if (digit > 9) return -1
      let digits = digit
      if (digit !== 0) {
        for (digit = bytes[at]! ^ ZERO; digit <= 9; digit = bytes[++at]! ^ ZERO) digits = digits * 10 + digit
      }
      let fraction = 0
      if (bytes[at] === POINT) {
        const start = ++at
        if (at > lastWord) return -1
        let word = view.getInt32(at, true) ^ FOUR_ZEROS
        let others = otherBytes(word)
        for (; others === 0; others = otherBytes(word)) {
          digits = digits * 10_000 + fourDigits(word)
          at += WORD_BYTES
          if (at > lastWord) return -1
          word = view.getInt32(at, true) ^ FOUR_ZEROS
        }
        const left = (31 - Math.clz32(others & -others)) >> 3
        // Moves these digits to the end of the word, with zeros before them.
        digits = digits * POWERS[left]! + fourDigits((word << (24 - 8 * left)) << 8)
        at += left
        fraction = at - start
        if (fraction === 0) return -1
      }
      const isPlain = (bytes[at]! | TO_LOWER_CASE) !== LOWER_E
      if (isPlain && digits <= Number.MAX_SAFE_INTEGER && fraction <= LAST_EXACT_POWER) {
        // At most 2^53, so finite also as a float32.
        const value = digits / POWERS[fraction]!
        target[index] = negative ? -value : value
      } else {
        at = this.#finish(at, digits, fraction, negative, target, index)
        if (at < 0) return -1
      }
      if (++index === end) return at
      if (bytes[at]! <= SPACE) at = skipSpace(bytes, at)
      if (bytes[at] !== COMMA) return -1
    }
  }

  /** Stores a number that has an exponent at `at`, or many digits. Returns the position after it, or -1. */
  #finish(
    at: number,
    digits: number,
    fraction: number,
    negative: boolean,
    target: Float32Array | Float64Array,
    index: number,
  ): number {
    const hasExponent = (this.#bytes[at]! | TO_LOWER_CASE) === LOWER_E
    const end = hasExponent ? this.#readExponent(at + 1) : at
    // 0 - 0 rather than -0, which would be a double, and cost more as an index.
    const power = (hasExponent ? this.#exponent : 0) - fraction
    const value = scale(digits, power, target.BYTES_PER_ELEMENT === 4)
    target[index] = negative ? -value : value
    // Looks at what was stored: a double may be infinite as a float32.
    return Number.isFinite(target[index]) ? end : -1
  }

  /** Returns the position after the exponent, -1 if there is none. */
  #readExponent(from: number): number {
    const sign = this.#bytes[from]
    const start = sign === MINUS || sign === PLUS ? from + 1 : from
    let at = start
    let exponent = 0
    for (let digit = this.#bytes[at]! ^ ZERO; digit <= 9; digit = this.#bytes[++at]! ^ ZERO) {
      exponent = Math.min(exponent * 10 + digit, LARGEST_EXPONENT)
    }
    this.#exponent = sign === MINUS ? 0 - exponent : exponent
    return at === start ? -1 : at
  }
}

/** Not zero in the bytes of `word` that are above 9, the lowest of them at least. */
function otherBytes(word: number): number {
  return ((word + 0x06060606) | word) & 0xf0f0f0f0
}

/** The number whose decimal digits are the bytes of `word`, the first one lowest. */
function fourDigits(word: number): number {
  const pairs = Math.imul(word, 10) + (word >>> 8)
  return (pairs & 0xff) * 100 + ((pairs >>> 16) & 0xff)
}

/**
 * digits · 10^power: the nearest double, or where a float32 is enough, the float32 that the nearest double rounds to.
 * NaN if that cannot be told.
 */
function scale(digits: number, power: number, float32: boolean): number {
  if (Math.abs(power) > LAST_POWER) return Number.NaN
  const value = power < 0 ? digits / POWERS[-power]! : digits * POWERS[power]!
  if (digits <= Number.MAX_SAFE_INTEGER && Math.abs(power) <= LAST_EXACT_POWER) return value
  if (!float32 || digits > MOST_DIGITS) return Number.NaN
  // Rounding keeps the order: where both ends of the margin give one float32, so does the nearest double between them.
  const nearest = Math.fround(value * (1 - MARGIN))
  return nearest === Math.fround(value * (1 + MARGIN)) ? nearest : Number.NaN
}

/** The position of the first byte from `at` on that is no white space. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  let end = at
  for (;;) {
    const byte = bytes[end]
    if (byte !== SPACE && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return end
    end++
  }
}
