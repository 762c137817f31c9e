import { type Collection, type Expected, frame, OBJECT, PURCHASE, utf8 } from './collection.ts'
import { type Content, repeat } from './parts.ts'

export function json(all: Collection): void {
  const add = (expected: Expected, name: string, why: string, content: string) =>
    all.add('json', expected, name, why, utf8(content))
  for (let cut = 0; cut < OBJECT.length; cut++)
    add('invalid-json', `cut to ${cut}`, 'the value ends early', OBJECT.slice(0, cut))
  const changed = (field: string, value: string) =>
    OBJECT.replace(new RegExp(`"${field}":(\\[[^\\]]*\\]|[^,}]+)`), () => `"${field}":${value}`)
  for (const value of ['null', 'true', '7', '"text"', '[]', `[${OBJECT}]`])
    add('invalid-json', `a ${value.slice(0, 8)}`, 'no object', value)
  for (const value of [
    '{}{}',
    `${OBJECT}x`,
    `${OBJECT},`,
    "{'count':7}",
    '{count:7}',
    '{"count":07}',
    '{"count":+7}',
    '{"count":.5}',
    '{"count":0x7}',
    '{"count":NaN}',
    '{"a":"\u0001"}',
    '{"a":"\\x41"}',
    '{"a":"\\ud8"}',
    '/**/{}',
  ]) {
    add('invalid-json', `not JSON: ${JSON.stringify(value).slice(-40)}`, 'what lenient parsers take', value)
  }
  add('invalid-json', 'BOM', 'a byte order mark is no JSON', `\ufeff${OBJECT}`)
  add('prediction', 'white space', 'of all four kinds', ` \t\r\n${OBJECT}\n`)
  for (const [open, close] of [
    ['[', ']'],
    ['{"a":', '}'],
  ] as const) {
    all.add('json', 'invalid-json', `bomb of ${open}`, 'opened and never closed', [
      repeat([...Buffer.from(open)], Math.floor(60_000 / open.length)),
    ])
    const levels = Math.floor(60_000 / (open.length + close.length))
    const nested: Content = [
      ...utf8(`${OBJECT.slice(0, -1)},"x":`),
      repeat([...Buffer.from(open)], levels),
      ...utf8(open === '[' ? '' : '1'),
      repeat([...Buffer.from(close)], levels),
      ...utf8('}'),
    ]
    all.add('json', 'prediction', `${levels} levels of ${open}`, 'deep, but in a field that nobody wants', nested)
  }
  add('feature-type', 'twice the same field', 'the last one counts', changed('count', '7,"count":"x"'))
  add('prediction', 'twice, the last one good', 'the last one counts', changed('count', '"x","count":7'))
  add(
    'prediction',
    '__proto__',
    'a field like others',
    changed('count', '7,"__proto__":{"member":1},"constructor":{"prototype":{"price":"x"}}'),
  )
  add(
    'feature-missing',
    'inherited',
    '__proto__ gives nobody a feature',
    '{"__proto__":{"count":7,"member":true,"price":2.5,"discount":0,"basket":[1,2,3]}}',
  )
  for (const field of ['count', 'member', 'price', 'basket']) {
    add('feature-null', `null ${field}`, 'a feature without a default', changed(field, 'null'))
    add('feature-type', `object for ${field}`, 'no tensor takes it', changed(field, '{"length":3,"0":1}'))
    add('feature-type', `text for ${field}`, 'no tensor takes it', changed(field, '"7"'))
    if (field !== 'basket') add('feature-type', `array for ${field}`, 'no tensor takes it', changed(field, '[1]'))
  }
  for (const value of ['0', '1', '"true"'])
    add('feature-type', `${value} for member`, 'no boolean', changed('member', value))
  for (const value of ['1.5', '1e-1']) add('feature-type', `${value} for count`, 'no integer', changed('count', value))
  for (const value of ['9007199254740992', '9223372036854775808', '-9223372036854775809', '1e300'])
    add('feature-range', `${value} for count`, 'JSON has rounded it', changed('count', value))
  add('feature-type', '1e999 for count', 'infinite, so no integer', changed('count', '1e999'))
  for (const value of ['1e999', '-1e999'])
    add('feature-not-finite', `${value} for price`, 'infinite', changed('price', value))
  for (const value of ['"NaN"', '"Infinity"'])
    add('feature-type', `${value} for price`, 'ALLOW_NON_FINITE is off', changed('price', value))
  add('prediction', '-0', 'a number', changed('price', '-0'))
  add('prediction', 'many digits', 'rounded to a double', changed('price', `0.${'1'.repeat(5_000)}`))
  add('feature-range', 'a million digits of 9, nearly', 'beyond 2^53', changed('count', '9'.repeat(300)))
  for (const value of ['[]', '[1]', '[1,2]', '[1,2,3,4]', `[${'1,'.repeat(20_000)}1]`])
    add('array-length', `basket ${value.slice(0, 12)}`, 'the model takes three', changed('basket', value))
  for (const value of ['[1,null,3]', '[null,null,null]'])
    add('feature-null', `basket ${value}`, 'an element is null', changed('basket', value))
  for (const value of ['[1,"2",3]', '[[1],2,3]', '[1,2,{}]', '[1,2.5,3]', '[true,2,3]'])
    add('feature-type', `basket ${value}`, 'an element is no integer', changed('basket', value))
  add('feature-range', 'basket 2^31', 'beyond int32', changed('basket', '[1,2147483648,3]'))
  all.add('json', 'invalid-json', 'Latin-1', 'not UTF-8', [Buffer.from('{"count":7,"ü":1}', 'latin1')])
  all.add('json', 'invalid-json', 'UTF-16', 'not UTF-8', [Buffer.from(OBJECT, 'utf16le')])
  all.add('json', 'invalid-json', 'only NUL', 'no JSON', [repeat([0], 100)])
  all.add('json', 'invalid-json', 'Avro', 'another format', frame(1, ...PURCHASE))
  all.add('json', 'null-value', 'tombstone', 'a record without a value', null)
}

export function jsonWords(all: Collection): void {
  const add = (expected: Expected, name: string, first: string) =>
    all.add('json-words', expected, name, 'text that is odd', utf8(`{"first":${first},"second":"two"}`))
  add('prediction', 'escaped NUL', '"a\\u0000b"')
  add('prediction', 'lone high surrogate', '"\\ud800"')
  add('prediction', 'lone low surrogate', '"x\\udc00y"')
  add('prediction', 'surrogates in the wrong order', '"\\udc00\\ud800"')
  add('prediction', 'every escape', '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u2028"')
  add('prediction', '30,000 characters', `"${'é'.repeat(30_000)}"`)
  add('feature-type', 'a number', '1')
  add('feature-type', 'a boolean', 'false')
  add('feature-null', 'null', 'null')
  add('invalid-json', 'a bare newline', '"\n"')
}
