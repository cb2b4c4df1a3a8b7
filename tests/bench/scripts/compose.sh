#!/bin/bash
# docker compose: everything that changed is replaced by one `up -d`. nginx looks names up when it loads its
# configuration, so without the reload it would ask the old addresses for good.
set -e
echo "1. Building images..."
$COMPOSE -f docker-compose.prod.yml build
echo "2. Running migrations..."
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py migrate
echo "3. Collecting static files..."
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py collectstatic --noinput
echo "4. Deploying services..."
$COMPOSE -f docker-compose.prod.yml up -d
$COMPOSE -f docker-compose.prod.yml exec -T nginx nginx -s reload
echo "5. Health check..."
curl -f "$HEALTH_URL"
