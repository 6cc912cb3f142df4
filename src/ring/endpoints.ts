/**
 * Every endpoint of Ring that we call, by the name that logs and metrics use. The list is closed, whatever URLs Ring's
 * answers contain, and no name contains anybody's ID.
 */
export const ENDPOINTS = [
  'POST /oauth/token',
  'GET /v1/users/me',
  'POST /v1/accounts/me/app-integrations',
  'PATCH /v1/accounts/me/app-integrations',
  'GET /v1/accounts/me/subscriptions',
  'GET /v1/devices',
  'GET /v1/devices/{id}',
  'GET /v1/devices/{id}/status',
  'GET /v1/history/devices/{id}/events',
  'POST /v1/devices/{id}/media/image/download',
  'GET of a picture',
  'POST /v1/devices/{id}/media/video/download',
  'GET of a clip',
  'POST /v1/devices/{id}/media/streaming/whep/sessions',
  'DELETE /v1/devices/{id}/media/streaming/whep/sessions/{id}',
] as const;

export type Endpoint = (typeof ENDPOINTS)[number];
