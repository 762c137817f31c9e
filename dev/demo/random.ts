/** A small generator of random numbers that a seed makes repeatable (mulberry32, by Tommy Ettinger); not for secrets. */
export class Random {
  #state: number

  /** Uses the lowest 32 bits of `seed`. */
  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let bits = this.#state
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }

  /** Uniform among the whole numbers from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.uniform() * limit)
  }

  /** Normally distributed with mean 0 and standard deviation 1 (Box and Muller, 1958). */
  gaussian(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()))
    return radius * Math.cos(2 * Math.PI * this.uniform())
  }
}
