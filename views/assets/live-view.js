// One live view at a time: opens it through our server (WHEP), shows it, counts down, and says why it ended. The picture
// itself comes straight from Ring. Without this script there is no live view, and the page says so.

const POLL_MS = 2_000;
/** For the browser to find its own addresses; most are there at once. */
const GATHERING_LIMIT_MS = 1_500;
const OPENING_LIMIT_MS = 25_000;

const ENDS = {
  CLOSED: 'The live view is closed.',
  TIME_LIMIT: 'Ring ends a live view after a minute at most. You can watch again.',
  DEVICE_OFFLINE: 'The live view ended because the device went offline. Check that it has power and Wi-Fi.',
  DEVICE_REMOVED: 'The live view ended because this device is no longer shared in the Ring app.',
  LINK_REMOVED: 'The live view ended because the app was removed in the Ring app.',
  FAILED: 'The live view could not be opened. Please try again in a moment.',
};

class Problem extends Error {}

const panel = document.querySelector('[data-live-views]');
if (panel) setUp(panel);

function setUp(panel) {
  const video = panel.querySelector('video');
  const button = panel.querySelector('button');
  const status = panel.querySelector('[role="status"]');
  const timer = panel.querySelector('[role="timer"]');
  const csrf = { 'x-csrf-token': panel.dataset.csrf };
  /** The one that is opening or open: {peer, address, ticking, polling}. */
  let view = null;

  button.hidden = false;
  button.addEventListener('click', () => {
    if (view) close();
    else open();
  });
  window.addEventListener('pagehide', () => {
    if (view) close();
  });

  async function open() {
    const opening = { peer: new RTCPeerConnection() };
    view = opening;
    panel.dataset.state = 'opening';
    button.textContent = 'Cancel';
    status.textContent = 'Opening the live view. This can take a few seconds.';
    try {
      await connect(opening);
      if (view !== opening) return;
      await watch(opening);
    } catch (error) {
      if (view === opening) end(error instanceof Problem ? error.message : ENDS.FAILED);
    }
  }

  async function connect(opening) {
    const { peer } = opening;
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addEventListener('track', ({ track }) => {
      video.srcObject = new MediaStream([track]);
    });
    peer.addEventListener('connectionstatechange', () => {
      if (view === opening && ['failed', 'disconnected'].includes(peer.connectionState)) void lose(opening);
    });
    await peer.setLocalDescription();
    await gathered(peer);
    const response = await fetch(panel.dataset.liveViews, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', ...csrf },
      body: peer.localDescription.sdp,
      signal: AbortSignal.timeout(OPENING_LIMIT_MS),
    });
    if (response.status !== 201) throw new Problem(await problemOf(response));
    opening.address = response.headers.get('location');
    // Cancelled while it opened.
    if (view !== opening) void hangUp(opening);
    else await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  }

  async function watch(opening) {
    panel.dataset.state = 'open';
    video.hidden = false;
    button.textContent = 'End live view';
    status.textContent = 'You are watching live.';
    opening.polling = setInterval(() => void poll(opening), POLL_MS);
    await poll(opening);
  }

  /** Our server knows first when the device goes offline or away. */
  async function poll(opening) {
    const response = await fetch(opening.address).catch(() => null);
    if (view !== opening || response === null) return;
    if (!response.ok) {
      end(await problemOf(response));
      return;
    }
    const { status: state, endReason, secondsLeft } = await response.json();
    if (view !== opening) return;
    if (state === 'ENDED') end(ENDS[endReason]);
    else countDown(opening, secondsLeft);
  }

  function countDown(opening, secondsLeft) {
    const endsAt = performance.now() + secondsLeft * 1_000;
    const show = () => {
      const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1_000));
      timer.textContent = left === 1 ? '1 second left' : `${left} seconds left`;
      if (left === 0) void lose(opening);
    };
    clearInterval(opening.ticking);
    opening.ticking = setInterval(show, 1_000);
    show();
  }

  /** The stream has stopped: our server may know why; if it does not, Ring has ended it. */
  async function lose(opening) {
    const response = await fetch(opening.address).catch(() => null);
    const ended = response?.ok ? await response.json() : {};
    if (view !== opening) return;
    if (ended.status !== 'ENDED') void hangUp(opening);
    end(ENDS[ended.endReason ?? 'TIME_LIMIT']);
  }

  function close() {
    void hangUp(view);
    end(ENDS.CLOSED);
  }

  /** Also while the page is going away. */
  async function hangUp({ address }) {
    if (address) await fetch(address, { method: 'DELETE', headers: csrf, keepalive: true }).catch(() => null);
  }

  function end(message) {
    clearInterval(view.polling);
    clearInterval(view.ticking);
    view.peer.close();
    view = null;
    panel.dataset.state = 'idle';
    video.srcObject = null;
    video.hidden = true;
    timer.textContent = '';
    button.textContent = 'Watch live';
    status.textContent = message;
  }
}

function gathered(peer) {
  return new Promise((resolve) => {
    setTimeout(resolve, GATHERING_LIMIT_MS);
    const look = () => {
      if (peer.iceGatheringState === 'complete') resolve();
    };
    peer.addEventListener('icegatheringstatechange', look);
    look();
  });
}

/** What our server says about a refusal is written for people. */
async function problemOf(response) {
  const problem = await response.json().catch(() => null);
  return problem?.detail ?? ENDS.FAILED;
}
