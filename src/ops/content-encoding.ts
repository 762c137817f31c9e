import type { Duplex } from 'node:stream'
import { createGunzip, createInflate } from 'node:zlib'
import type { FastifyReply, RequestPayload } from 'fastify'
import { SluiceError } from '../core/errors.ts'

/**
 * The body as it was before it was compressed; whoever reads it bounds its length. Once the reply is written, or its client
 * has gone, nothing more is unpacked.
 * @throws SluiceError `request-invalid` for an encoding that is not known
 */
export function decodedBody(
  payload: RequestPayload,
  encoding: string | undefined,
  reply: FastifyReply['raw'],
): RequestPayload {
  if (encoding === undefined || encoding === 'identity') return payload
  if (encoding !== 'gzip' && encoding !== 'deflate')
    throw new SluiceError('request-invalid', `Content-Encoding is "${encoding}", expected gzip, deflate or none`)
  const decoder: Duplex & { receivedEncodedLength?: number } = encoding === 'gzip' ? createGunzip() : createInflate()
  // Whoever reads it listens, too; but nobody reads a body that was refused, and without a listener an error ends the process.
  decoder.on('error', () => {})
  const drop = () => {
    payload.unpipe(decoder)
    payload.resume()
    decoder.destroy()
  }
  reply.once('prefinish', drop).once('close', drop)
  // Fastify compares it with Content-Length.
  decoder.receivedEncodedLength = 0
  payload.on('data', (chunk: Buffer) => {
    decoder.receivedEncodedLength! += chunk.length
  })
  payload.on('error', error => decoder.destroy(error))
  return payload.pipe(decoder)
}
