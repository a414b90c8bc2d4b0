"""Makes cases.jsonl: ten thousand answers of other libraries to whether a fence holds a place.

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install geographiclib==2.1 shapely==2.2.0 spherely==0.1.1
    /tmp/oracle/bin/python record.py > cases.jsonl

The same seed gives the same file. Each line is a fence as GeoJSON and places inside and outside of it:

- circles by geographiclib, as geodesics of an ellipsoid that is the sphere;
- polygons of great circles by spherely, which is Google's S2;
- polygons that are straight in latitude and longitude by shapely, which is GEOS, in the plane of both; written with
  longitudes beyond 180 or with a jump.

Half of the places are near the boundary. Those that are nearer than a centimetre (2 m for straight edges, which are
taken as great circles that are up to 1 m away) are left out: the answer is not for the library to give.
"""

import json
import math
import random

import shapely
import spherely
from geographiclib.geodesic import Geodesic

RADIUS = 6_371_008.8
SPHERE = Geodesic(RADIUS, 0)
RANDOM = random.Random(20261122)


def away(lon, lat, bearing, metres):
    there = SPHERE.Direct(lat, lon, bearing, metres)
    return round(there["lon2"], 7), round(there["lat2"], 7)


def place():
    """Anywhere; often at the antimeridian or a pole."""
    kind = RANDOM.random()
    if kind < 0.2:
        return round(RANDOM.choice([180, -180]) + RANDOM.uniform(-0.1, 0.1), 7), round(RANDOM.uniform(-60, 60), 7)
    if kind < 0.35:
        return round(RANDOM.uniform(-180, 180), 7), RANDOM.choice([-1, 1]) * round(RANDOM.uniform(89.5, 90), 7)
    return round(RANDOM.uniform(-180, 180), 7), round(math.degrees(math.asin(RANDOM.uniform(-1, 1))), 7)


def wrapped(lon):
    return round((lon + 180) % 360 - 180, 7)


def size():
    """From 50 m to 3,000 km, each magnitude as likely."""
    return math.exp(RANDOM.uniform(math.log(50), math.log(3e6)))


def write(geometry, properties, answers):
    fence = {"type": "Feature", "properties": properties, "geometry": geometry}
    sides = {key: [at for at, is_inside in answers if is_inside == (key == "inside")] for key in ("inside", "outside")}
    print(json.dumps({"fence": fence, **sides}, separators=(",", ":")))


def collect(count, candidate, answer):
    """So many places that have an answer."""
    answers = []
    while len(answers) < count:
        at = candidate(len(answers) % 2 == 0)
        is_inside = answer(at)
        if is_inside is not None:
            answers.append((at, bool(is_inside)))
    return answers


def circle():
    lon, lat = place()
    lon, radius = wrapped(lon), round(size(), 2)

    def candidate(is_near):
        metres = radius + RANDOM.choice([-1, 1]) * 10 ** RANDOM.uniform(-2, 1.5) if is_near else radius * RANDOM.uniform(0, 2)
        return away(lon, lat, RANDOM.uniform(0, 360), abs(metres))

    def answer(at):
        metres = SPHERE.Inverse(lat, lon, at[1], at[0])["s12"]
        return None if abs(metres - radius) < 0.01 else metres < radius

    write({"type": "Point", "coordinates": [lon, lat]}, {"radius": radius}, collect(20, candidate, answer))


def star(lon, lat, metres, corners, low, high):
    """A ring around a place, to the left."""
    ring = [away(lon, lat, -360 * at / corners, metres * RANDOM.uniform(low, high)) for at in range(corners)]
    return ring + ring[:1]


def great_circles():
    lon, lat = place()
    lon, metres = wrapped(lon), size()
    rings = [star(lon, lat, metres, RANDOM.randint(6, 30), 0.5, 1.0)]
    if RANDOM.random() < 0.3:
        rings.append(star(lon, lat, metres, RANDOM.randint(5, 8), 0.1, 0.3))
    polygon = spherely.create_polygon(rings[0], rings[1:])
    lines = [spherely.create_linestring(ring) for ring in rings]

    def candidate(is_near):
        if not is_near:
            return away(lon, lat, RANDOM.uniform(0, 360), metres * RANDOM.uniform(0, 1.2))
        ring = RANDOM.choice(rings)
        at = RANDOM.randrange(len(ring) - 1)
        (lon1, lat1), (lon2, lat2) = ring[at], ring[at + 1]
        edge = SPHERE.Inverse(lat1, lon1, lat2, lon2)
        on_edge = SPHERE.Direct(lat1, lon1, edge["azi1"], edge["s12"] * RANDOM.random())
        return away(on_edge["lon2"], on_edge["lat2"], RANDOM.uniform(0, 360), 10 ** RANDOM.uniform(-1, 2))

    def answer(at):
        point = spherely.create_point(*at)
        if min(spherely.distance(point, line, radius=RADIUS) for line in lines) < 0.01:
            return None
        return spherely.contains(polygon, point)

    answers = collect(20, candidate, answer)
    write({"type": "Polygon", "coordinates": rings}, {"edges": "great-circle"}, answers)


def straight():
    lon, lat = RANDOM.choice([180, RANDOM.uniform(-180, 180)]), RANDOM.uniform(-60, 60)
    width, height = (math.exp(RANDOM.uniform(math.log(0.01), math.log(top))) for top in (25, 20))
    count = RANDOM.randint(5, 14)
    ring = []
    for at in range(count):
        angle, part = math.tau * at / count, RANDOM.uniform(0.4, 1)
        ring.append((round(lon + math.cos(angle) * part * width, 7), round(lat + math.sin(angle) * part * height, 7)))
    ring.append(ring[0])
    polygon = shapely.Polygon(ring)

    def candidate(is_near):
        if not is_near:
            return lon + RANDOM.uniform(-1.2, 1.2) * width, lat + RANDOM.uniform(-1.2, 1.2) * height
        on_edge = polygon.exterior.interpolate(RANDOM.random(), normalized=True)
        angle, degrees = RANDOM.uniform(0, math.tau), 10 ** RANDOM.uniform(-4, -2)
        return on_edge.x + math.cos(angle) * degrees, on_edge.y + math.sin(angle) * degrees

    def answer(at):
        degrees = polygon.exterior.distance(shapely.Point(at))
        if degrees * math.cos(math.radians(min(abs(at[1]) + 0.1, 89.9))) * math.radians(RADIUS) < 2:
            return None
        return polygon.contains(shapely.Point(at))

    answers = [((wrapped(x), round(y, 7)), is_inside) for (x, y), is_inside in collect(20, candidate, answer)]
    if RANDOM.random() < 0.5:
        ring = [(wrapped(x), y) for x, y in ring]
    write({"type": "Polygon", "coordinates": [ring]}, {}, answers)


for make, count in ((circle, 100), (great_circles, 200), (straight, 200)):
    for _ in range(count):
        make()
