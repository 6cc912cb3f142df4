import { createHmac, timingSafeEqual } from 'node:crypto';
import express, { raw } from 'express';
import pg from 'pg';

/**
 * The baseline of the receiver: a bare Express app that checks the signature over the raw body and runs one INSERT for
 * each request. Without a DATABASE_URL it does the same without the INSERT.
 */
const { PORT, DATABASE_URL, RING_HMAC_KEY = '' } = process.env;
const pool = DATABASE_URL === undefined ? undefined : new pg.Pool({ connectionString: DATABASE_URL, max: 10 });

interface Event {
  meta: { request_id: string; account_id: string; time: string };
  data: { type: string };
}

const app = express();
app.post('/webhooks/ring', raw({ type: 'application/json', limit: '256kb' }), async (request, response) => {
  const body = request.body as Buffer;
  const expected = createHmac('sha256', RING_HMAC_KEY).update(body).digest();
  const given = Buffer.from(request.get('x-signature')?.slice('sha256='.length) ?? '', 'hex');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    response.status(401).end();
    return;
  }
  const text = body.toString();
  const { meta, data } = JSON.parse(text) as Event;
  await pool?.query(
    `INSERT INTO webhook_events (request_id, account_id, type, status, occurred_at, body, received_at)
     VALUES ($1, $2, $3, 'PENDING', $4, $5, now()) ON CONFLICT (request_id) DO NOTHING`,
    [meta.request_id, meta.account_id, data.type, meta.time, text],
  );
  response.status(200).end();
});
app.get('/readyz', (_request, response) => {
  response.end();
});
app.listen(Number(PORT));
