import { scaleLinear, scaleLog } from 'd3-scale'
import { line } from 'd3-shape'

export interface Series {
  /** In the legend; empty leaves it out there. */
  readonly name: string
  readonly colour: string
  /** In the units of the axes; in the order in which they are joined. */
  readonly points: readonly (readonly [x: number, y: number])[]
  readonly dashed?: boolean
}

export interface ChartOptions {
  readonly title: string
  /** With its unit. */
  readonly x: string
  readonly y: string
  readonly series: readonly Series[]
  /** Both axes from zero, each point as close to the next as it is; or by powers of ten, for positive values, with dots. */
  readonly scale?: 'linear' | 'logarithmic'
}

const WIDTH = 760
const HEIGHT = 340
const MARGIN = { top: 44, right: 24, bottom: 48, left: 64 }
const TICKS = 6
/** Of the legend, above the plot. */
const LEGEND = { perRow: 4, step: 150, y: 37, lineHeight: 15 }

/** A line chart as an SVG document. */
export function lineChart({ title, x, y, series, scale = 'linear' }: ChartOptions): string {
  const named = series.filter(({ name }) => name !== '')
  const top = MARGIN.top + LEGEND.lineHeight * Math.max(0, Math.ceil(named.length / LEGEND.perRow) - 1)
  const bottom = HEIGHT - MARGIN.bottom
  const values = (axis: 0 | 1) => series.flatMap(({ points }) => points.map(point => point[axis]))
  const across = axisOf(values(0), [MARGIN.left, WIDTH - MARGIN.right], scale, false)
  const up = axisOf(values(1), [bottom, top], scale, true)
  const path = line<readonly [number, number]>(
    ([at]) => round(across.place(at)),
    ([, value]) => round(up.place(value)),
  )
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(MARGIN.left, 20, title, 'font-size="14" font-weight="bold"'),
    ...up.ticks.flatMap(value => [
      `<path d="M${MARGIN.left},${round(up.place(value))}H${WIDTH - MARGIN.right}" stroke="#ddd"/>`,
      text(MARGIN.left - 8, up.place(value) + 4, value.toLocaleString('en-US'), 'text-anchor="end"'),
    ]),
    ...across.ticks.map(at => {
      return text(across.place(at), bottom + 18, at.toLocaleString('en-US'), 'text-anchor="middle"')
    }),
    text((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 8, x, 'text-anchor="middle"'),
    text(0, 0, y, `text-anchor="middle" transform="translate(16 ${(top + bottom) / 2}) rotate(-90)"`),
    ...series.map(({ colour, points, dashed }) => {
      const dashes = dashed ? ' stroke-dasharray="5 4"' : ''
      return `<path d="${path(points)}" fill="none" stroke="${colour}" stroke-width="1.5"${dashes}/>`
    }),
    ...(scale === 'linear' ? [] : series).flatMap(({ colour, points }) => {
      return points.map(([at, value]) => {
        return `<circle cx="${round(across.place(at))}" cy="${round(up.place(value))}" r="3" fill="${colour}"/>`
      })
    }),
    ...named.map(({ name, colour }, i) => {
      const [column, row] = [i % LEGEND.perRow, Math.floor(i / LEGEND.perRow)]
      return text(MARGIN.left + LEGEND.step * column, LEGEND.y + LEGEND.lineHeight * row, name, `fill="${colour}"`)
    }),
    '</svg>',
  ].join('\n')}\n`
}

interface Axis {
  readonly ticks: readonly number[]
  /** Where a value lies, in pixels. */
  readonly place: (value: number) => number
}

/** @param nice whether it ends at a round number */
function axisOf(
  values: readonly number[],
  range: readonly [number, number],
  scale: 'linear' | 'logarithmic',
  nice: boolean,
): Axis {
  if (values.length === 0) return { ticks: [], place: () => range[0] }
  if (scale === 'linear') {
    const linear = scaleLinear([0, Math.max(...values)], range)
    if (nice) linear.nice()
    return { ticks: linear.ticks(TICKS), place: linear }
  }
  const decades = scaleLog([Math.min(...values), Math.max(...values)], range).nice()
  const isPowerOfTen = (value: number) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9
  const ticks = decades.ticks().filter(isPowerOfTen)
  return { ticks, place: decades }
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

const round = (value: number) => Math.round(value * 10) / 10
