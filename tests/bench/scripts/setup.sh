#!/bin/bash
# The first deploy of the stack, for the tools that roll but do not set up.
set -e
echo "1. Building images..."
$COMPOSE -f docker-compose.prod.yml build
echo "2. Running migrations..."
$COMPOSE -f docker-compose.prod.yml up -d db redis
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py migrate
echo "3. Collecting static files..."
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py collectstatic --noinput
echo "4. Deploying services..."
$COMPOSE -f docker-compose.prod.yml up -d
