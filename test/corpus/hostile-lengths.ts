import { cluttered } from './clutter.ts'
import { BASKET, COUNT, type Collection, frame, PURCHASE, REST } from './collection.ts'
import { bytes, type Content, double, long, repeat, text } from './parts.ts'

const HUGE = 2n ** 60n

export function integers(all: Collection): void {
  const counted = (...count: Content) => frame(1, ...count, ...REST, ...BASKET)
  all.add(
    'avro',
    'prediction',
    'over-long zero',
    'ten bytes for 0: more than needed, but 64 bits',
    counted(bytes(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0)),
  )
  all.add('avro', 'prediction', 'least long', '-2^63', counted(long(-(2n ** 63n))))
  all.add('avro', 'prediction', 'largest long', '2^63 - 1', counted(long(2n ** 63n - 1n)))
  for (const length of [10, 11, 20, 1_000]) {
    all.add(
      'avro',
      'invalid-avro',
      `integer of ${length} bytes`,
      'more than 64 bits',
      counted(repeat([0xff], length - 1), bytes(0x7f)),
    )
  }
  all.add('avro', 'invalid-avro', 'a 65th bit', 'the tenth byte is 2', counted(repeat([0x80], 9), bytes(2)))
  all.add(
    'avro',
    'truncated-message',
    'endless integer',
    'every byte says that another follows',
    frame(1, repeat([0x80], 9)),
  )
  const items = (...first: Content) => frame(1, COUNT, ...REST, long(3n), ...first, long(2n), long(3n), long(0n))
  all.add('avro', 'invalid-avro', 'int of 33 bits', 'an Avro int has 32', items(long(2n ** 31n)))
  all.add('avro', 'invalid-avro', 'int of 64 bits', 'an Avro int has 32', items(long(-(2n ** 63n))))
  all.add(
    'avro',
    'feature-range',
    'long in an int tensor',
    'an item beyond int32',
    frame(9, COUNT, ...REST, long(3n), long(2n ** 40n), long(2n), long(3n), long(0n)),
  )
}

export function lengths(all: Collection): void {
  for (const [name, length] of [
    ['one', -1n],
    ['least', -(2n ** 63n)],
    ['32 bits', -(2n ** 31n)],
  ] as const) {
    all.add(
      'avro',
      'invalid-avro',
      `negative length, ${name}`,
      'a string of fewer than no bytes',
      cluttered({ text: [long(length)] }),
    )
  }
  for (const [name, length] of [
    ['2^31', 2n ** 31n],
    ['2^32', 2n ** 32n],
    ['2^53', 2n ** 53n],
    ['2^60', HUGE],
    ['2^63-1', 2n ** 63n - 1n],
  ] as const) {
    all.add(
      'avro',
      'truncated-message',
      `string of ${name}`,
      'a length beyond the value',
      cluttered({ text: [long(length), bytes(1)] }),
    )
    all.add(
      'avro',
      'truncated-message',
      `map of ${name}`,
      'entries beyond the value',
      cluttered({ tags: [long(length), text('k')] }),
    )
    all.add(
      'avro',
      'truncated-message',
      `lists of ${name}`,
      'items beyond the value',
      cluttered({ lists: [long(length)] }),
    )
    all.add(
      'avro',
      'truncated-message',
      `inner list of ${name}`,
      'items beyond the value',
      cluttered({ lists: [long(1n), long(length)] }),
    )
    all.add(
      'avro',
      'truncated-message',
      `doubles of ${name}`,
      'items of eight bytes, passed over in one step',
      cluttered({ ratios: [long(length), double(1)] }),
    )
    all.add(
      'avro',
      'prediction',
      `nulls of ${name}`,
      'items of no bytes: the count may even be true',
      cluttered({ nothing: [long(length), long(0n)] }),
    )
  }
  const sized = (count: bigint, size: bigint, ...body: Content) => [long(-count), long(size), ...body, long(0n)]
  all.add(
    'avro',
    'prediction',
    'honest block size',
    'a block that says its size',
    cluttered({ tags: sized(1n, 4n, text('k'), text('v')) }),
  )
  all.add(
    'avro',
    'invalid-avro',
    'negative block size',
    'a block of fewer than no bytes',
    cluttered({ tags: sized(1n, -4n, text('k'), text('v')) }),
  )
  all.add(
    'avro',
    'truncated-message',
    'block size 2^60',
    'a block beyond the value',
    cluttered({ tags: sized(1n, HUGE, text('k'), text('v')) }),
  )
  all.add(
    'avro',
    'truncated-message',
    'block of -2^63',
    'the one count without a positive twin',
    cluttered({ tags: [long(-(2n ** 63n)), long(HUGE)] }),
  )
  const basket = (...body: Content) => frame(1, COUNT, ...REST, ...body)
  all.add(
    'avro',
    'invalid-avro',
    'basket block too short',
    'a block ends after its size',
    basket(...sized(3n, 2n, long(1n), long(2n), long(3n))),
  )
  all.add(
    'avro',
    'invalid-avro',
    'basket block too long',
    'a block ends before its size',
    basket(long(-3n), long(4n), long(1n), long(2n), long(3n), long(0n)),
  )
  for (const count of [0n, 1n, 2n, 4n, 5n, 1_000n]) {
    const items = Array.from({ length: Number(count) }, () => long(1n))
    all.add(
      'avro',
      'array-length',
      `basket of ${count}`,
      'the model takes three',
      basket(...(count === 0n ? [] : [long(count)]), ...items, long(0n)),
    )
  }
  all.add(
    'avro',
    'array-length',
    'basket of thirty thousand',
    'one block after the other, none too large',
    basket(repeat([2, 2], 30_000), long(0n)),
  )
  all.add('avro', 'truncated-message', 'basket of 2^60', 'items beyond the value', basket(long(HUGE), long(1n)))
  all.add('avro', 'truncated-message', 'basket without end', 'no empty block closes it', basket(...BASKET.slice(0, -1)))
}

export function nesting(all: Collection): void {
  const deep = (levels: number): Content => [repeat([2], levels), long(0n)]
  all.add('avro', 'prediction', '400 deep', 'a list of 400 nodes', cluttered({ node: deep(400) }))
  for (const levels of [600, 5_000, 65_000]) {
    all.add(
      'avro',
      'invalid-avro',
      `${levels} deep`,
      'a list that would exhaust the stack',
      cluttered({ node: deep(levels) }),
    )
  }
  all.add('avro', 'invalid-avro', 'endless record', 'a record that contains itself, always', frame(8, ...PURCHASE))
}
