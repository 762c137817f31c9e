import { scaleLinear } from 'd3-scale'
import { line } from 'd3-shape'

export interface Series {
  readonly name: string
  readonly colour: string
  /** In the units of the axes. */
  readonly points: readonly (readonly [x: number, y: number])[]
}

export interface ChartOptions {
  readonly title: string
  /** With its unit. */
  readonly x: string
  readonly y: string
  readonly series: readonly Series[]
}

const WIDTH = 760
const HEIGHT = 340
const MARGIN = { top: 44, right: 24, bottom: 48, left: 64 }
const TICKS = 6

/** A line chart as an SVG document, both axes from zero. */
export function lineChart({ title, x, y, series }: ChartOptions): string {
  const most = (axis: 0 | 1) => Math.max(...series.flatMap(({ points }) => points.map(point => point[axis])))
  const across = scaleLinear([0, most(0)], [MARGIN.left, WIDTH - MARGIN.right])
  const up = scaleLinear([0, most(1)], [HEIGHT - MARGIN.bottom, MARGIN.top]).nice()
  const path = line<readonly [number, number]>(
    ([at]) => round(across(at)),
    ([, value]) => round(up(value)),
  )
  const bottom = HEIGHT - MARGIN.bottom
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(MARGIN.left, 20, title, 'font-size="14" font-weight="bold"'),
    ...up
      .ticks(TICKS)
      .flatMap(value => [
        `<path d="M${MARGIN.left},${round(up(value))}H${WIDTH - MARGIN.right}" stroke="#ddd"/>`,
        text(MARGIN.left - 8, up(value) + 4, value.toLocaleString('en-US'), 'text-anchor="end"'),
      ]),
    ...across.ticks(TICKS).map(at => text(across(at), bottom + 18, String(at), 'text-anchor="middle"')),
    text((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 8, x, 'text-anchor="middle"'),
    text(0, 0, y, `text-anchor="middle" transform="translate(16 ${(MARGIN.top + bottom) / 2}) rotate(-90)"`),
    ...series.map(
      ({ colour, points }) => `<path d="${path(points)}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
    ),
    ...series.map(({ name, colour }, i) => text(MARGIN.left + 150 * i, 37, name, `fill="${colour}"`)),
    '</svg>',
  ].join('\n')}\n`
}

function text(x: number, y: number, content: string, attributes: string): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escaped}</text>`
}

const round = (value: number) => Math.round(value * 10) / 10
