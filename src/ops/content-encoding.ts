import type { Readable } from 'node:stream'
import { createGunzip, createInflate } from 'node:zlib'
import type { RequestPayload } from 'fastify'
import { SluiceError } from '../core/errors.ts'

/**
 * The body as it was before it was compressed; whoever reads it bounds its length.
 * @throws SluiceError `request-invalid` for an encoding that is not known
 */
export function decodedBody(payload: RequestPayload, encoding: string | undefined): RequestPayload {
  if (encoding === undefined || encoding === 'identity') return payload
  if (encoding !== 'gzip' && encoding !== 'deflate')
    throw new SluiceError('request-invalid', `Content-Encoding is "${encoding}", expected gzip, deflate or none`)
  const decoder: Readable & { receivedEncodedLength?: number } & NodeJS.WritableStream =
    encoding === 'gzip' ? createGunzip() : createInflate()
  // Fastify compares it with Content-Length.
  decoder.receivedEncodedLength = 0
  payload.on('data', (chunk: Buffer) => {
    decoder.receivedEncodedLength! += chunk.length
  })
  payload.on('error', error => decoder.destroy(error))
  return payload.pipe(decoder)
}
