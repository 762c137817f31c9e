import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lineChart, type Series } from '../../dev/chart.ts'

const series = (name: string, points: Series['points']): Series => ({ name, colour: '#123456', points })

/** Centres of the dots, in pixels. */
function dots(svg: string): [x: number, y: number][] {
  return [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)])
}

const AXES = { title: 'A & B', x: 'x', y: 'y' }

test('a linear chart begins at zero and is drawn as a path', () => {
  const svg = lineChart({
    ...AXES,
    series: [
      series('a', [
        [0, 0],
        [5, 50],
        [10, 100],
      ]),
    ],
  })
  // From the lower left corner to the upper right one.
  assert.match(svg, /<path d="M64,292L400,168L736,44"/)
  assert.match(svg, /A &amp; B/)
  assert.deepEqual(dots(svg), [])
})

test('on a logarithmic chart powers of ten are equally far apart', () => {
  const points: Series['points'] = [10, 100, 1_000, 10_000].map(value => [value, value])
  const svg = lineChart({ ...AXES, series: [series('a', points)], scale: 'logarithmic' })
  const found = dots(svg)
  assert.equal(found.length, 4)
  const gaps = found.slice(1).map(([x], i) => x - found[i]![0])
  assert.ok(Math.max(...gaps) - Math.min(...gaps) < 0.2, `${gaps}`)
  for (const tick of ['10', '100', '1,000', '10,000']) assert.match(svg, new RegExp(`>${tick}<`))
  assert.doesNotMatch(svg, />20</)
})

test('a legend with many names goes on in another line, and leaves out what has none', () => {
  const many = ['a', 'b', 'c', 'd', 'e', ''].map(name =>
    series(name, [
      [1, 1],
      [2, 2],
    ]),
  )
  const svg = lineChart({ ...AXES, series: many })
  const places = [...svg.matchAll(/<text x="([\d.]+)" y="([\d.]+)" fill="#123456">(\w*)</g)].map(found =>
    found.slice(1),
  )
  assert.deepEqual(places, [
    ['64', '37', 'a'],
    ['214', '37', 'b'],
    ['364', '37', 'c'],
    ['514', '37', 'd'],
    ['64', '52', 'e'],
  ])
})

test('a chart without points, and one with a single one, are charts', () => {
  for (const scale of ['linear', 'logarithmic'] as const) {
    for (const points of [[], [[1_000, 5]]] as Series['points'][]) {
      assert.doesNotMatch(lineChart({ ...AXES, series: [series('a', points)], scale }), /NaN|Infinity/)
    }
  }
})
