import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { bucketError } from '../../src/models/bucket-errors.ts'

/** An error as the SDK makes it: with a secret, in the request that it holds. */
function thrown(name: string, httpStatusCode?: number): Error {
  const error = Object.assign(new Error(`about ${name}`), { name, $metadata: { httpStatusCode } })
  return Object.assign(error, { $response: { headers: { 'x-amz-security-token': 'secret' } } })
}

describe('what a store answers', () => {
  const cases: readonly (readonly [string, number | undefined, string])[] = [
    ['TimeoutError', undefined, 'store-unreachable'],
    ['Error', undefined, 'store-unreachable'],
    ['InternalError', 500, 'store-unreachable'],
    ['SlowDown', 503, 'store-unreachable'],
    ['TooManyRequests', 429, 'store-unreachable'],
    ['RequestTimeout', 400, 'store-unreachable'],
    ['NoSuchBucket', 404, 'store-refused'],
    ['AccessDenied', 403, 'store-refused'],
    ['InvalidAccessKeyId', 403, 'store-refused'],
    ['ExpiredToken', 400, 'store-refused'],
    ['AuthorizationHeaderMalformed', 400, 'store-refused'],
    ['NotImplemented', 501, 'store-refused'],
    ['CredentialsProviderError', undefined, 'store-refused'],
  ]
  for (const [name, status, code] of cases) {
    it(`${name}, ${status ?? 'no status'}, is ${code}`, () => {
      const error = bucketError('s3://models', thrown(name, status))
      assert.ok(error instanceof SluiceError)
      assert.equal(error.code, code)
      assert.match(error.message, /^the model store s3:\/\/models (does not answer|refuses): .*about /)
      assert.equal(error.cause, undefined, 'the SDK keeps requests, with their tokens, in its errors')
    })
  }

  it('says which address, where one of several failed', () => {
    const error = bucketError('s3://models', new AggregateError([new Error('connect ECONNREFUSED ::1:9000')]))
    assert.match((error as Error).message, /does not answer: connect ECONNREFUSED ::1:9000$/)
  })

  it('leaves answers to whoever expects them', () => {
    const answers = [thrown('NoSuchKey', 404), thrown('PreconditionFailed', 412), thrown('OperationAborted', 409)]
    for (const answer of answers) assert.equal(bucketError('s3://models', answer), answer)
  })
})
