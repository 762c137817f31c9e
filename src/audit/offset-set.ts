/** Offsets in a page, a bit each: 8 KiB a page. */
const PAGE_OFFSETS = 65_536
const WORD_BITS = 32
const PAGE_WORDS = PAGE_OFFSETS / WORD_BITS

/**
 * A set of offsets of one partition: bitmaps in pages that are made when their first offset comes, so that a log which
 * begins at a billion costs what it holds, about a bit an offset, and not what lies before it.
 */
export class OffsetSet {
  readonly #pages = new Map<number, Uint32Array>()
  /** The page of the last offset added: offsets come almost in order. */
  #number = -1
  #page: Uint32Array = new Uint32Array(0)

  /** Adds an offset in [0, 2^53); returns false where it is in the set already. */
  add(offset: number): boolean {
    const number = Math.floor(offset / PAGE_OFFSETS)
    if (number !== this.#number) this.#enter(number)
    const at = offset - number * PAGE_OFFSETS
    const bit = 1 << (at & (WORD_BITS - 1))
    const word = this.#page[at >>> 5]!
    if ((word & bit) !== 0) return false
    this.#page[at >>> 5] = word | bit
    return true
  }

  /** What the pages take. */
  get bytes(): number {
    return this.#pages.size * PAGE_WORDS * Uint32Array.BYTES_PER_ELEMENT
  }

  /** Numbers of its pages, ascending. */
  get pageNumbers(): number[] {
    return [...this.#pages.keys()].sort((a, b) => a - b)
  }

  page(number: number): Uint32Array | undefined {
    return this.#pages.get(number)
  }

  #enter(number: number): void {
    let page = this.#pages.get(number)
    if (page === undefined) {
      page = new Uint32Array(PAGE_WORDS)
      this.#pages.set(number, page)
    }
    this.#number = number
    this.#page = page
  }
}

/** Offsets that were looked for: how many, and the first of them. */
export interface Selection {
  readonly count: number
  /** Ascending. */
  readonly first: readonly number[]
}

/** Offsets in [from, to) that are in `a` and not in `b`; of them the first `limit` by name. */
export function inFirstOnly(a: OffsetSet, b: OffsetSet, from: number, to: number, limit: number): Selection {
  return select(a, b, ~0, from, to, limit)
}

/** Offsets in [from, to) that are in both sets; of them the first `limit` by name. */
export function inBoth(a: OffsetSet, b: OffsetSet, from: number, to: number, limit: number): Selection {
  return select(a, b, 0, from, to, limit)
}

const EMPTY_PAGE = new Uint32Array(PAGE_WORDS)

/** Word by word: a hundred million offsets are three million words. `flip` inverts the words of `b`. */
function select(a: OffsetSet, b: OffsetSet, flip: number, from: number, to: number, limit: number): Selection {
  const first: number[] = []
  let count = 0
  for (const number of a.pageNumbers) {
    const base = number * PAGE_OFFSETS
    if (base >= to || base + PAGE_OFFSETS <= from) continue
    const page = a.page(number)!
    const other = b.page(number) ?? EMPTY_PAGE
    for (let w = 0; w < PAGE_WORDS; w++) {
      const found = page[w]! & (other[w]! ^ flip)
      if (found === 0) continue
      const start = base + w * WORD_BITS
      const word = found & bitsFrom(from - start) & ~bitsFrom(to - start)
      if (word === 0) continue
      count += popCount(word)
      for (let bit = 0; bit < WORD_BITS && first.length < limit; bit++) {
        if ((word & (1 << bit)) !== 0) first.push(start + bit)
      }
    }
  }
  return { count, first }
}

/** The bits of a word at `position` and above. */
function bitsFrom(position: number): number {
  if (position <= 0) return ~0
  return position >= WORD_BITS ? 0 : ~0 << position
}

/** Bits that are set, by adding neighbours (Warren, Hacker's Delight, 5-1). */
function popCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555)
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333)
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
