import fc from 'fast-check'

/** Mostly `usual`: a document of twenty values is to be read as often as not. */
const mostly = (usual: fc.Arbitrary<string>, ...unusual: string[]) =>
  fc.oneof({ weight: 40, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom(...unusual) })
const number = mostly(
  fc.oneof(
    // Evenly drawn: fast-check's own floats and doubles like the extremes.
    fc.noBias(fc.integer()).map(value => String(value / 1000)),
    fc.tuple(fc.noBias(fc.integer()), fc.nat(30)).map(([value, exponent]) => String(value / 10 ** exponent)),
    fc.integer().map(String),
    fc.constantFrom('-0', '1E+2', '0.000', '9007199254740991', '123456789012', '1e-40', '0.1e+01'),
  ),
  ...[
    '9007199254740993',
    '1e-400',
    '0.12345678901234567',
    '1e',
    '01',
    '.5',
    '0x1',
    'null',
    '1e400',
    '1e39',
    '"1"',
    '-',
  ],
)
const integer = mostly(fc.integer().map(String), '1.5', '1e2', '9007199254740993', '2147483648', 'null', '"7"')
const word = mostly(fc.constantFrom('true', 'false'), 'null', '1', '"true"', 'tru')
const space = mostly(fc.constantFrom('', '', '', ' ', '\n\t', '\r '), '\v', ',')
const list = (item: fc.Arbitrary<string>, length: number) =>
  fc
    .tuple(
      fc.oneof(
        { weight: 40, arbitrary: fc.array(item, { minLength: length, maxLength: length }) },
        { weight: 1, arbitrary: fc.array(item, { maxLength: 4 }) },
      ),
      space,
    )
    .map(([items, gap]) => `[${items.join(`${gap},`)}${gap}]`)
const unwanted = fc.oneof(
  fc.json(),
  fc.string().map(text => JSON.stringify(text)),
  number,
)
const members = fc.tuple(
  list(number, 3).map(value => `"image":${value}`),
  number.map(value => `"gain":${value}`),
  fc
    .tuple(number, list(number, 2), space)
    .map(([age, scores, gap]) => `"customer":{${gap}"age":${age},"scores":${scores}}`),
  integer.map(value => `"count":${value}`),
  integer.map(value => `"größe":${value}`),
  list(integer, 2).map(value => `"basket":${value}`),
  word.map(value => `"member":${value}`),
  list(word, 2).map(value => `"flags":${value}`),
)
/**
 * Records for the features image[3], gain, customer.age, customer.scores[2], count, größe, basket[2], member, flags[2],
 * with white space and other fields: mostly in order, mostly good.
 */
export const jsonDocument = fc
  .tuple(
    members,
    fc.array(
      fc.tuple(
        fc.string().map(text => JSON.stringify(text)),
        unwanted,
      ),
      { maxLength: 3 },
    ),
    space,
  )
  .chain(([wanted, others, gap]) => {
    const all = [...wanted, ...others.map(([key, value]) => `${key}:${value}`)]
    return fc
      .oneof({ weight: 4, arbitrary: fc.constant(all) }, fc.shuffledSubarray(all, { minLength: all.length }))
      .map(parts => `${gap}{${gap}${parts.join(`${gap},${gap}`)}${gap}}${gap}`)
  })
