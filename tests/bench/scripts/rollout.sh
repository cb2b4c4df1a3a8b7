#!/bin/bash
# docker-rollout, one service after another, each followed by a reload of nginx. Beat must never run twice, which
# docker-rollout cannot do.
set -e
echo "1. Building images..."
$COMPOSE -f docker-compose.prod.yml build
echo "2. Running migrations..."
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py migrate
echo "3. Collecting static files..."
$COMPOSE -f docker-compose.prod.yml run --rm -T backend python manage.py collectstatic --noinput
echo "4. Deploying services..."
for service in backend celery_worker frontend; do
    docker rollout -f docker-compose.prod.yml "$service"
    $COMPOSE -f docker-compose.prod.yml exec -T nginx nginx -s reload
done
$COMPOSE -f docker-compose.prod.yml up -d --no-deps celery_beat
echo "5. Health check..."
curl -f "$HEALTH_URL"
