/**
 * Answers of the real Ring, byte for byte but for identifiers, which are replaced by shorter ones. They were recorded with
 * a token of the developer console's Playground in September 2026. They are text, because the compiler copies no other files.
 */

/** `GET /v1/devices?include=status,capabilities,location,configurations` */
export const DEVICES = `{
  "data": [
    {
      "type": "devices",
      "id": "ava1.ring.device.AAAA1111",
      "attributes": {
        "image_url": "https://app-content.ring.com/shared/images/devices/square_device_images/DoorbellPro/rvdp_3x.png",
        "name": "Playground Device"
      },
      "relationships": {
        "status": {"data": {"type": "device-status", "id": "ava1.ring.device.status.BBBB2222"}, "links": {"related": "/v1/devices/ava1.ring.device.AAAA1111/status"}},
        "location": {"data": {"type": "locations", "id": "ava1.ring.location.CCCC3333"}, "links": {"related": "/v1/devices/ava1.ring.device.AAAA1111/location"}},
        "capabilities": {"data": {"type": "device-capabilities", "id": "ava1.ring.device.capabilities.DDDD4444"}, "links": {"related": "/v1/devices/ava1.ring.device.AAAA1111/capabilities"}},
        "configurations": {"data": {"type": "device-configurations", "id": "ava1.ring.device.configurations.EEEE5555"}, "links": {"related": "/v1/devices/ava1.ring.device.AAAA1111/configurations"}}
      }
    }
  ],
  "included": [
    {"type": "locations", "id": "ava1.ring.location.CCCC3333", "attributes": {"state": "CA", "country": "US"}},
    {"type": "device-status", "id": "ava1.ring.device.status.BBBB2222", "attributes": {"audio": {"snooze": {"active": null, "until": null}}, "online": true, "reported_at": "2026-09-15T12:45:03Z", "state": null}},
    {"type": "device-capabilities", "id": "ava1.ring.device.capabilities.DDDD4444", "attributes": {
      "video": {"configurations": ["resolution_mode"], "codecs": ["AVC"], "ratio": "16:9", "max_resolution": 1080, "supported_resolutions": [1080]},
      "audio": {"customizable_slots": null, "supported_actions": null},
      "image_enhancements": {"configurations": ["color_night_vision", "privacy_zones", "snapshot"]},
      "flood_detection": null, "tamper_detection": null, "glass_break_detection": null,
      "motion_detection": {"configurations": ["enabled", "motion_zones"]},
      "smoke_detection": null, "freeze_detection": null, "co_detection_listener": null, "battery_status": null, "contact_detection": null}},
    {"type": "device-configurations", "id": "ava1.ring.device.configurations.EEEE5555", "attributes": {
      "motion_detection": {"enabled": "on", "motion_zones": [{"id": "bac09fbb-7a79-4eca-80d8-4e05a4ea8d07", "vertices": [
        {"x": 0, "y": 0}, {"x": 0.5, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 0.6}, {"x": 1, "y": 1}, {"x": 0.5, "y": 1}, {"x": 0, "y": 1}, {"x": 0, "y": 0.6}]}]},
      "audio": {"customizable_slots": null, "volume": 11},
      "image_enhancements": {"color_night_vision": "off", "hdr": "off", "ir_led_night_vision": "off", "auto_zoom_track": "off", "privacy_zones": []}}}
  ],
  "meta": {"time": "2026-09-15T12:47:12Z"}
}
`;

/** `GET /v1/history/devices/{id}/events?event_types=on_demand` */
export const HISTORY_ON_DEMAND = `{"data": [
  {"type": "history-events", "id": "ava1.ring.history.event.FFFF0001",
   "attributes": {"end": 1789513653550, "start": 1789513622925, "event_type": "on_demand", "is_third_party_reviewed": true},
   "relationships": {"cv_detections": {"data": []}, "source": {"data": {"type": "devices", "id": "ava1.ring.device.AAAA1111"}}},
   "meta": {"riid": null}},
  {"type": "history-events", "id": "ava1.ring.history.event.FFFF0002",
   "attributes": {"is_third_party_reviewed": true, "event_type": "on_demand", "start": 1789513578468, "end": 1789513602247},
   "relationships": {"cv_detections": {"data": []}, "source": {"data": {"type": "devices", "id": "ava1.ring.device.AAAA1111"}}},
   "meta": {"riid": null}}
]}
`;
